// AdamW on the host for bfloat16 parameters that live elsewhere, as ZeRO-Offload does it: float32
// master weights and moments stay here, bfloat16 gradients come in, bfloat16 parameters go out.
//
//     stepforge compile adamw --out liboptim.so
//     c++ -std=c++17 examples/offload.cpp -I. -L. -loptim -Wl,-rpath,. -o offload && ./offload
//
// It compares some numbers with a loop in double, and ends with 1 if they are not near.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "liboptim.h"

using bfloat16 = std::uint16_t;

// Round to nearest even; the numbers of this program are finite.
static bfloat16 narrow(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<bfloat16>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static float widen(bfloat16 x) {
  std::uint32_t bits = std::uint32_t{x} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

struct Parameter {
  std::vector<bfloat16> on_device, gradient;
  std::vector<float> master, m, v;

  explicit Parameter(std::size_t n)
      : on_device(n), gradient(n), master(n), m(n), v(n) {
    for (std::size_t i = 0; i < n; i++) {
      on_device[i] = narrow(std::sin(0.1f * static_cast<float>(i)));
      master[i] = widen(on_device[i]);
    }
  }

  adamw_row row() {
    adamw_row made = {};
    made.p = master.data();
    made.g = gradient.data();
    made.m = m.data();
    made.v = v.data();
    made.n = static_cast<std::int64_t>(master.size());
    return made;
  }
};

constexpr double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
constexpr int steps = 20;

// A gradient that changes with the step and the element.
static bfloat16 gradient(int t, std::size_t i) {
  return narrow(std::cos(0.3f * static_cast<float>(t) + 0.01f * static_cast<float>(i)));
}

// The element as a plain loop in double computes it.
static double reference(float start, std::size_t i) {
  double p = start, m = 0, v = 0;
  for (int t = 1; t <= steps; t++) {
    double g = widen(gradient(t, i));
    p -= lr * weight_decay * p;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    double m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
    p -= lr * m_hat / (std::sqrt(v_hat) + eps);
  }
  return p;
}

int main() {
  std::vector<Parameter> parameters;
  for (std::size_t n : {1u, 1000u, 300001u}) parameters.emplace_back(n);

  std::vector<adamw_row> rows;
  for (Parameter &parameter : parameters) rows.push_back(parameter.row());

  // In the order of the row: p, g, m, v and v_max, which is not there without amsgrad.
  const unsigned char types[ADAMW_TENSORS] = {STEPFORGE_FLOAT32, STEPFORGE_BFLOAT16,
                                              STEPFORGE_FLOAT32, STEPFORGE_FLOAT32,
                                              STEPFORGE_FLOAT32};
  const int threads = static_cast<int>(std::thread::hardware_concurrency());

  for (int t = 1; t <= steps; t++) {
    for (Parameter &parameter : parameters)
      for (std::size_t i = 0; i < parameter.gradient.size(); i++)
        parameter.gradient[i] = gradient(t, i);
    double numbers[ADAMW_NUMBERS];
    adamw_numbers(numbers, t, lr, beta1, beta2, eps, weight_decay, 0, 0);
    if (adamw_step(rows.data(), static_cast<std::int64_t>(rows.size()), types, numbers, 0,
                   threads) != 0) {
      std::puts("a type is no number format");
      return 1;
    }
    for (Parameter &parameter : parameters)
      for (std::size_t i = 0; i < parameter.master.size(); i++)
        parameter.on_device[i] = narrow(parameter.master[i]);
  }

  double worst = 0;
  for (Parameter &parameter : parameters) {
    for (std::size_t i = 0; i < parameter.master.size(); i += 997) {
      float start = widen(narrow(std::sin(0.1f * static_cast<float>(i))));
      worst = std::fmax(worst, std::fabs(parameter.master[i] - reference(start, i)));
      if (parameter.on_device[i] != narrow(parameter.master[i])) return 1;
    }
  }
  std::printf("the largest difference from double is %.1e\n", worst);
  return worst < 2e-6 ? 0 : 1;
}
