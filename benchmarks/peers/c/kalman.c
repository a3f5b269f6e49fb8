/* C twins of the 2-state Kalman filter (dt = 1), for bench_kalman.py. Built with -march=native.
 *
 * Same formula and same order of evaluation as ours, so that the results are equal bit for bit.
 */
#include <stddef.h>
#include <stdint.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* steps x n measurements in z; five arrays of n: one vector operation per line of the formula. */
void whole_vector(const double *restrict z, size_t steps, size_t n, double q, double r, double *restrict x,
                  double *restrict v, double *restrict p00, double *restrict p01, double *restrict p11)
{
    for (size_t step = 0; step < steps; step++, z += n) {
        size_t i = 0;
#ifdef __AVX512F__
        const __m512d noise = _mm512_set1_pd(q), spread = _mm512_set1_pd(r), one = _mm512_set1_pd(1.0);
        for (; i + 8 <= n; i += 8) {
            __m512d vel = _mm512_loadu_pd(v + i), cross = _mm512_loadu_pd(p01 + i);
            __m512d last = _mm512_loadu_pd(p11 + i);
            __m512d xp = _mm512_add_pd(_mm512_loadu_pd(x + i), vel);
            __m512d b = _mm512_add_pd(cross, last);
            __m512d a = _mm512_add_pd(
                _mm512_add_pd(_mm512_add_pd(_mm512_loadu_pd(p00 + i), cross), b), noise);
            __m512d s = _mm512_add_pd(a, spread);
            __m512d k0 = _mm512_div_pd(a, s), k1 = _mm512_div_pd(b, s);
            __m512d y = _mm512_sub_pd(_mm512_loadu_pd(z + i), xp), rest = _mm512_sub_pd(one, k0);
            _mm512_storeu_pd(x + i, _mm512_add_pd(xp, _mm512_mul_pd(k0, y)));
            _mm512_storeu_pd(v + i, _mm512_add_pd(vel, _mm512_mul_pd(k1, y)));
            _mm512_storeu_pd(p00 + i, _mm512_mul_pd(rest, a));
            _mm512_storeu_pd(p01 + i, _mm512_mul_pd(rest, b));
            _mm512_storeu_pd(p11 + i, _mm512_sub_pd(_mm512_add_pd(last, noise), _mm512_mul_pd(k1, b)));
        }
#endif
        for (; i < n; i++) {
            double xp = x[i] + v[i], b = p01[i] + p11[i], a = ((p00[i] + p01[i]) + b) + q;
            double s = a + r, k0 = a / s, k1 = b / s, y = z[i] - xp;
            x[i] = xp + k0 * y;
            v[i] = v[i] + k1 * y;
            p00[i] = (1.0 - k0) * a;
            p01[i] = (1.0 - k0) * b;
            p11[i] = (p11[i] + q) - k1 * b;
        }
    }
}

typedef struct {
    double x, v, p00, p01, p11, unused[3];
} filter_t; /* one cache line */

/* One measurement after another, each of any of the filters; out: price and velocity of each. */
void tick_by_tick(const uint32_t *restrict slots, const double *restrict z, size_t n, double q, double r,
                  filter_t *restrict filters, double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        filter_t *f = &filters[slots[i]];
        double xp = f->x + f->v, b = f->p01 + f->p11, a = ((f->p00 + f->p01) + b) + q;
        double s = a + r, k0 = a / s, k1 = b / s, y = z[i] - xp;
        f->x = xp + k0 * y;
        f->v = f->v + k1 * y;
        f->p00 = (1.0 - k0) * a;
        f->p01 = (1.0 - k0) * b;
        f->p11 = (f->p11 + q) - k1 * b;
        out[2 * i] = f->x;
        out[2 * i + 1] = f->v;
    }
}
