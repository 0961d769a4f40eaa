/* Compares a translated formula with a reference in higher precision. benchmarks/functions.py puts
   the translation in front, and defines real, integer, wide (the reference's type), FUNCTION,
   REFERENCE, DIGITS and SMALLEST (the exponent of the least normal number). */

#define LARGEST (2 - SMALLEST) /* 2 to this power is infinite */

typedef struct {
  double worst;                     /* ulp; 0 where all are correctly rounded */
  int64_t where;                    /* the index of the first input with that error */
  int64_t rounded;                  /* inputs whose result is correctly rounded */
} Statistics;

static double error(real got, wide exact) {
  const real nearest = (real)exact;
  if (nearest == got && signbit(nearest) == signbit(got)) return 0;
  if (nearest != nearest || got != got) return nearest != nearest && got != got ? 0 : INFINITY;
  if (signbit(nearest) != signbit(got) || exact - exact != 0) return INFINITY;
  int exponent;
  wide_frexp(exact, &exponent);
  exponent = exponent - 1 < SMALLEST ? SMALLEST : exponent > LARGEST ? LARGEST - 1 : exponent - 1;
  const wide ulp = wide_ldexp(1, exponent - DIGITS + 1);
  const wide value = isinf(got) ? (got > 0 ? 1 : -1) * wide_ldexp(1, LARGEST) : got;
  const double off = (double)((value - exact) / ulp);
  return off < 0 ? -off : off;
}

#define MEASURE(INPUT)                                                                     \
  Statistics total = {0, 0, 0};                                                            \
  _Pragma("omp parallel")                                                                  \
  {                                                                                        \
    Statistics mine = {0, 0, 0};                                                           \
    _Pragma("omp for schedule(static)")                                                    \
    for (int64_t i = 0; i < n; i++) {                                                      \
      INPUT;                                                                               \
      const double off = error(FUNCTION, REFERENCE);                                       \
      mine.rounded += off == 0;                                                            \
      if (off > mine.worst) mine.worst = off, mine.where = i;                              \
    }                                                                                      \
    _Pragma("omp critical")                                                                \
    {                                                                                      \
      total.rounded += mine.rounded;                                                       \
      if (mine.worst > total.worst || (mine.worst == total.worst && mine.where < total.where)) \
        total.worst = mine.worst, total.where = mine.where;                                \
    }                                                                                      \
  }                                                                                        \
  *result = total;

void measure(const real *xs, const real *ys, int64_t n, Statistics *result) {
  MEASURE(const real x = xs[i]; const real y = ys[i]; (void)y)
}

void sweep(int64_t start, int64_t n, Statistics *result) {
  const real y = 0;
  (void)y;
  MEASURE(const real x = from_bits((integer)(start + i)))
}

void evaluate(const real *xs, const real *ys, int64_t n, real *out) {
  for (int64_t i = 0; i < n; i++) {
    const real x = xs[i], y = ys[i];
    (void)y;
    out[i] = FUNCTION;
  }
}
