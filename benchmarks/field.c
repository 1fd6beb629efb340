/* The rates of ReLU gradient flow (K students, K = d orthonormal teachers, readouts 1) in float64, written for
   the registers of one processor: what an evaluation has to cost, to hold the package's own against.

   Eight starts lie side by side, so that one register holds the same number of each; all of a start's numbers
   stay in the first cache. Built and called by widths.py, which passes K and the coefficients of the arcsine.
   Prints the largest difference from the plain formula, then microseconds per evaluation of one start. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LANES = 8, BLOCKS = 64, ROUNDS = 41 };
#define EACH for (int l = 0; l < LANES; l++)
typedef double row[LANES] __attribute__((aligned(64)));

static const double series[] = {ARCSINE}; /* lowest power first */
enum { TERMS = sizeof series / sizeof *series };
static const double PI = 3.14159265358979323846;

/* From cosines: sines, and (pi - angle) / 2 pi. */
static inline void angle(const double *c, double *sine, double *share) {
  EACH {
    double x = fmin(fabs(c[l]), 1);
    int far = x > 0.5;
    double z = far ? (1 - x) * 0.5 : x * x, y = far ? sqrt(z) : x, p = series[TERMS - 1];
    for (int k = TERMS - 2; k >= 0; k--) p = p * z + series[k];
    double arcsine = y + y * z * p;
    arcsine = far ? PI / 2 - 2 * arcsine : arcsine;
    sine[l] = sqrt(fmax((1 - x) * (1 + x), 0));
    share[l] = 0.25 + (c[l] < 0 ? -arcsine : arcsine) / (2 * PI);
  }
}

static void rates(row W[K][K], row out[K][K]) {
  row norm[K], over[K], pull[K], s[K][K], sine, c;
  for (int i = 0; i < K; i++) {
    row q = {0};
    for (int m = 0; m < K; m++) EACH q[l] += W[i][m][l] * W[i][m][l];
    EACH norm[i][l] = sqrt(q[l]), over[i][l] = 1 / norm[i][l], pull[i][l] = 0, s[i][i][l] = 0.5;
  }
  for (int i = 0; i < K; i++)
    for (int j = 0; j < i; j++) {
      row q = {0};
      for (int m = 0; m < K; m++) EACH q[l] += W[i][m][l] * W[j][m][l];
      EACH c[l] = q[l] * over[i][l] * over[j][l];
      angle(c, sine, s[i][j]);
      memcpy(s[j][i], s[i][j], sizeof(row));
      EACH pull[i][l] += sine[l] * norm[j][l], pull[j][l] += sine[l] * norm[i][l];
    }
  for (int i = 0; i < K; i++) {
    row teacher[K];
    for (int n = 0; n < K; n++) {
      EACH c[l] = W[i][n][l] * over[i][l];
      angle(c, sine, teacher[n]);
      EACH pull[i][l] -= sine[l];
    }
    for (int m = 0; m < K; m++) {
      row sum;
      EACH sum[l] = pull[i][l] * over[i][l] / (2 * PI) * W[i][m][l] - teacher[m][l];
      for (int j = 0; j < K; j++) EACH sum[l] += s[i][j][l] * W[j][m][l];
      EACH out[i][m][l] = -sum[l];
    }
  }
}

static double plain(row W[K][K], int l, int i, int m) {
  double rate = 0, own = 0;
  for (int n = 0; n < K; n++) own += W[i][n][l] * W[i][n][l];
  for (int j = 0; j < 2 * K; j++) {
    double dot = 0, other = 0, sign = j < K ? 1 : -1;
    for (int n = 0; n < K; n++) {
      double w = j < K ? W[j][n][l] : n == j - K;
      dot += W[i][n][l] * w, other += w * w;
    }
    double theta = j == i ? 0 : acos(dot / sqrt(own * other));
    double w = j < K ? W[j][m][l] : m == j - K;
    rate -= sign * ((PI - theta) * w + sqrt(other / own) * sin(theta) * W[i][m][l]) / (2 * PI);
  }
  return rate;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(void) {
  row(*W)[K][K] = aligned_alloc(64, BLOCKS * sizeof *W), (*out)[K][K] = aligned_alloc(64, BLOCKS * sizeof *W);
  double *numbers = (double *)W, worst = 0, times[ROUNDS];
  for (size_t i = 0; i < BLOCKS * sizeof *W / sizeof(double); i++)
    numbers[i] = (rand() / (double)RAND_MAX - 0.5) * sqrt(12.0 / K);
  for (int r = 0; r < ROUNDS; r++) {
    double began = seconds();
    for (int b = 0; b < BLOCKS; b++) rates(W[b], out[b]);
    times[r] = (seconds() - began) / BLOCKS / LANES * 1e6;
  }
  for (int i = 0; i < K; i++)
    for (int m = 0; m < K; m++) worst = fmax(worst, fabs(plain(W[0], 3, i, m) - out[0][i][m][3]));
  qsort(times, ROUNDS, sizeof *times, ascending);
  printf("%g %g\n", worst, times[ROUNDS / 2]);
}
