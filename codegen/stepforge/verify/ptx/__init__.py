"""PTX: taken apart, executed on the CPU, and lifted; and the machine code it becomes."""
