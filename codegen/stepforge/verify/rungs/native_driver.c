/* Reads tables of tensors, steps each once, and leaves the rest to the sanitizers: every tensor has
   memory of its own, exactly as long as it is. STEP is the function that steps. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int STEP(const void *rows, int64_t count, const unsigned char *types, const double *numbers,
         unsigned options, int threads);

static void take(void *to, size_t bytes)
{
    if (bytes && fread(to, 1, bytes, stdin) != bytes) {
        exit(2);
    }
}

int main(void)
{
    int64_t header[5]; /* columns, parameters, numbers, options, threads */
    while (fread(header, sizeof header, 1, stdin) == 1) {
        int64_t columns = header[0], count = header[1];
        unsigned char *types = malloc((size_t)columns);
        double *numbers = malloc((size_t)header[2] * sizeof(double));
        int64_t *rows = calloc((size_t)(count * (columns + 1)), sizeof(int64_t));
        take(types, (size_t)columns);
        take(numbers, (size_t)header[2] * sizeof(double));
        for (int64_t row = 0; row < count; row++) {
            int64_t *own = rows + row * (columns + 1);
            take(&own[columns], sizeof(int64_t));
            for (int64_t column = 0; column < columns; column++) {
                int64_t bytes; /* -1 where options leave the tensor out */
                take(&bytes, sizeof bytes);
                if (bytes >= 0) {
                    void *tensor = malloc((size_t)bytes);
                    take(tensor, (size_t)bytes);
                    memcpy(&own[column], &tensor, sizeof tensor);
                }
            }
        }
        if (STEP(rows, count, types, numbers, (unsigned)header[3], (int)header[4]) != 0) {
            return 3;
        }
        for (int64_t at = 0; at < count * (columns + 1); at++) {
            if (at % (columns + 1) != columns) {
                void *tensor;
                memcpy(&tensor, &rows[at], sizeof tensor);
                free(tensor);
            }
        }
        free(types);
        free(numbers);
        free(rows);
    }
    return 0;
}
