// What loadgen.c measures with: a histogram of times, CPU and memory of processes.
#include "common.h"

// Log-linear histogram of nanoseconds: 64 sub-buckets a power of two, from 64 ns.
#define SUB 64
#define BUCKETS (SUB * 44)
typedef struct {
  uint64_t count, bucket[BUCKETS];
} Hist;

static void record(Hist* h, int64_t ns) {
  uint64_t v = ns < 0 ? 0 : (uint64_t)ns >> 6;
  int i = v;
  if (v >= SUB) {
    int e = 63 - __builtin_clzll(v);
    i = (e - 5) * SUB + ((v >> (e - 6)) & (SUB - 1));
  }
  h->bucket[i < BUCKETS ? i : BUCKETS - 1]++;
  h->count++;
}
static double quantile_us(const Hist* h, double q) {
  uint64_t wanted = (uint64_t)ceil(q * h->count), seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += h->bucket[i];
    if (seen < wanted || !seen) continue;
    if (i < SUB) return ((i << 6) + 32) / 1000.0;
    return ldexp(SUB + (i & (SUB - 1)) + 0.5, i / SUB + 5 - 6) * 64 / 1000;
  }
  return 0;
}

static double cpu_seconds(const int* pid,
                          int pids) {  // of the whole processes, exited threads included
  double sum = 0;
  for (int i = 0; i < pids; i++) {
    clockid_t clock;
    struct timespec t;
    if (!clock_getcpuclockid(pid[i], &clock) && !clock_gettime(clock, &t))
      sum += t.tv_sec + t.tv_nsec / 1e9;
  }
  return sum;
}
static double rss_mib(const int* pid, int pids) {
  double sum = 0;
  for (int i = 0; i < pids; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", pid[i]);
    FILE* f = fopen(path, "r");
    if (!f) continue;
    unsigned long size, resident;
    if (fscanf(f, "%lu %lu", &size, &resident) == 2)
      sum += resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
    fclose(f);
  }
  return sum;
}
