/* Layer 2, hot: the arithmetic of the two Kalman filters, and loops over series and vectors.
 *
 * Compiled without contraction: every expression has one order of evaluation, and
 * tests/reference/kalman.py repeats it in Python floats, bit for bit.
 */
#ifndef KHFT_KALMAN_H
#define KHFT_KALMAN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static inline void kalman1_update(double *x, double *p, double q, double r, double z)
{
    double predicted = *p + q;
    double gain = predicted / (predicted + r);
    *x = *x + gain * (z - *x);
    *p = predicted * (1.0 - gain);
}

/* F = [[1, dt], [0, 1]], H = [1, 0], Q = diag(q, q): P' = F P F^T + Q and the gain in closed
 * form; P stays symmetric because only its upper triangle is kept. */
static inline void kalman2_update(double *x, double *v, double *p00, double *p01, double *p11,
                                  double q, double r, double dt, double z)
{
    double xp = *x + dt * *v;
    double b = *p01 + dt * *p11;
    double a = ((*p00 + dt * *p01) + dt * b) + q;
    double c = *p11 + q;
    double s = a + r;
    double k0 = a / s;
    double k1 = b / s;
    double y = z - xp;
    *x = xp + k0 * y;
    *v = *v + k1 * y;
    *p00 = (1.0 - k0) * a;
    *p01 = (1.0 - k0) * b;
    *p11 = c - k1 * b;
}

static void kalman1_series(const double *z, size_t n, double q, double r, double p0, double x0,
                           double *estimate)
{
    double x = n && isnan(x0) ? z[0] : x0;
    double p = p0;
    for (size_t i = 0; i < n; i++) {
        kalman1_update(&x, &p, q, r, z[i]);
        estimate[i] = x;
    }
}

/* dt: one step per element, q then per second; NULL: 1 and q per step. */
static void kalman2_series(const double *z, const double *dt, size_t n, double q, double r, double p0,
                           double x0, double *price, double *velocity)
{
    double x = n && isnan(x0) ? z[0] : x0;
    double v = 0.0, p00 = p0, p01 = 0.0, p11 = p0;
    for (size_t i = 0; i < n; i++) {
        double step = dt ? dt[i] : 1.0;
        double noise = dt ? q * step : q;
        kalman2_update(&x, &v, &p00, &p01, &p11, noise, r, step, z[i]);
        price[i] = x;
        velocity[i] = v;
    }
}

/* Wide instructions where the CPU has them; the bits are the same on every path. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define KALMAN_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KALMAN_WIDE
#endif

KALMAN_WIDE static void kalman1_vector(const double *restrict z, size_t n, double q, double r,
                                       double *restrict x, double *restrict p)
{
    for (size_t i = 0; i < n; i++)
        kalman1_update(&x[i], &p[i], q, r, z[i]);
}

/* One step of n independent 2-state filters, structure of arrays, dt = 1. */
KALMAN_WIDE static void kalman2_vector(const double *restrict z, size_t n, double q, double r,
                                       double *restrict x, double *restrict v,
                                       double *restrict p00, double *restrict p01,
                                       double *restrict p11)
{
    for (size_t i = 0; i < n; i++)
        kalman2_update(&x[i], &v[i], &p00[i], &p01[i], &p11[i], q, r, 1.0, z[i]);
}

KALMAN_WIDE static uint32_t highest(const uint32_t *values, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* One 2-state filter on a cache line of its own: state, then the upper triangle of P. */
typedef struct {
    double x, v, p00, p01, p11, unused[3];
} kalman2_t;

/* Measurements of any of the filters, in the order in which they came (dt = 1); out: price and
 * velocity after each. Every slot is within `filters`. */
KALMAN_WIDE static void kalman2_ticks(const uint32_t *restrict slots, const double *restrict z,
                                      size_t n, double q, double r,
                                      kalman2_t *restrict filters, double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        kalman2_t *f = &filters[slots[i]];
        kalman2_update(&f->x, &f->v, &f->p00, &f->p01, &f->p11, q, r, 1.0, z[i]);
        out[2 * i] = f->x;
        out[2 * i + 1] = f->v;
    }
}

#endif
