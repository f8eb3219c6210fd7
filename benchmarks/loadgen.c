// Load generator: one thread, epoll, keep-alive, loopback only. One JSON line of results on stdout.
//   loadgen -p port [-c connections] [-r requests a connection] [-n chunks] [-s 1|0: stream]
//           [-u path] [-m model] [-k key] [-H "Header: value"]… [-P pid,pid,…: CPU and memory]
//           [-R ramp_ms] [-T most seconds] [-w warm-up requests a connection]
// Every delta holds "~" and the mock's clock, so the delay of each chunk is the true one, and every
// chunk is counted: an answer with one chunk too few or too many has failed.
#include "measure.h"

enum { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, BY_LENGTH, UNTIL_EOF };
typedef struct {
  int fd, requests, state, head_len, status, size_len;
  long left;  // bytes of this chunk or body
  char head[8192], size[32];
  bool connected, working, close_after, got_first;
  int chunks, digits;  // digits of a stamp still to come
  int64_t stamp, asked, latest;
} Conn;

static struct {
  int port, connections, requests, chunks, stream, warm, ramp_ms;
  double max_seconds;
  const char *path, *model, *key;
  char headers[4096];
  int pid[64], pids;
} opt = {.port = 9001,
         .connections = 1,
         .requests = 10,
         .chunks = 50,
         .stream = 1,
         .max_seconds = 60,
         .path = "/v1/chat/completions",
         .model = "mock",
         .key = "sk-test"};
static struct {
  uint64_t ok, bad_status, bad_count, errors, chunks, seen, reads;
  int bad_example;
  char bad_body[600];
  int bad_len;
  Hist first, arrival, delay, gap, total;
  double rss_peak;
  int64_t begun, ended;
} result;
static Conn* conns;
static struct sockaddr_in address;
static int ep, done, request_len;
static char request[16384];
static bool warming;

static int most_requests(void) { return warming ? opt.warm : opt.requests; }

static void retire(Conn* c) {
  c->working = false;
  done++;
}
static void hang_up(Conn* c) {
  epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
  c->fd = -1;
  c->connected = false;
}
static void dial(Conn* c, int index) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  no_delay(c->fd);
  c->connected = false;
  c->working = true;
  connect(c->fd, (void*)&address, sizeof address);  // its outcome arrives as an event
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = index};
  epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}
static void ask(Conn* c) {
  c->state = HEAD;
  c->head_len = c->size_len = c->chunks = c->digits = c->status = 0;
  c->got_first = c->close_after = false;
  c->asked = now_ns();
  if (send(c->fd, request, request_len, MSG_NOSIGNAL) != request_len) result.errors++;
}
static void finish(Conn* c) {
  int64_t t = now_ns();
  c->requests++;
  if (warming) return;
  result.ended = t;
  if (c->status != 200) {
    result.bad_status++;
    result.bad_example = c->status;
  } else if (opt.stream && c->chunks != opt.chunks) {
    result.bad_count++;
    result.bad_example = c->chunks;
  } else {
    result.ok++;
    result.chunks += opt.stream ? opt.chunks : 1;
    record(&result.total, t - c->asked);
  }
}
static void next(Conn* c, int index) {
  if (c->requests >= most_requests()) {
    retire(c);
  } else if (c->close_after || c->fd < 0) {
    if (c->fd >= 0) hang_up(c);
    dial(c, index);
  } else {
    ask(c);
  }
}
static void chunk_seen(Conn* c, int64_t t) {
  c->chunks++;
  if (!warming && c->chunks <= (opt.stream ? opt.chunks : 1)) {
    result.seen++;
    record(&result.delay, t % STAMP_RANGE - c->stamp);
    if (c->got_first) {
      record(&result.gap, t - c->latest);
    } else {
      record(&result.first, t - c->asked);
      if (c->requests == 0) record(&result.arrival, t - c->asked);
    }
  }
  c->got_first = true;
  c->latest = t;
}
static void scan(Conn* c, const char* p, long n, int64_t t) {  // body bytes, for stamps
  if (c->status != 200) {
    int room = 500 - result.bad_len, k = n < room ? n : room;
    memcpy(result.bad_body + result.bad_len, p, k);
    result.bad_len += k;
  }
  while (n > 0) {
    if (c->digits) {
      if (*p < '0' || *p > '9') {
        c->digits = 0;
        continue;
      }
      c->stamp = c->stamp * 10 + (*p - '0');
      p++;
      n--;
      if (--c->digits == 0) chunk_seen(c, t);
      continue;
    }
    const char* mark = memchr(p, '~', n);
    if (!mark) return;
    n -= mark + 1 - p;
    p = mark + 1;
    c->digits = STAMP_DIGITS;
    c->stamp = 0;
  }
}
static void understand(Conn* c) {  // the head is whole
  c->status = atoi(c->head + 9);
  c->state = UNTIL_EOF;
  const char* value = strcasestr(c->head, "\r\ncontent-length:");
  if (value) {
    c->left = atol(value + 17);
    c->state = BY_LENGTH;
  } else if ((value = strcasestr(c->head, "\r\ntransfer-encoding:")) &&
             strcasestr(value, "chunked")) {
    c->state = CHUNK_SIZE;
  }
  value = strcasestr(c->head, "\r\nconnection:");
  if (value && strncasecmp(value + 14, "close", 5) == 0) c->close_after = true;
}
static int take_head(Conn* c, const char* p, int n) {  // bytes used, -1: too long
  int room = (int)sizeof c->head - 1 - c->head_len, k = n < room ? n : room;
  if (!k) return -1;
  int old = c->head_len;
  memcpy(c->head + old, p, k);
  c->head_len += k;
  c->head[c->head_len] = 0;
  char* end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
  if (!end) return k;
  end[2] = 0;
  understand(c);
  return end + 4 - c->head - old;
}
static void take_size(Conn* c, char ch) {
  if (ch != '\n') {
    if (c->size_len < (int)sizeof c->size - 1) c->size[c->size_len++] = ch;
    return;
  }
  c->size[c->size_len] = 0;
  c->size_len = 0;
  c->left = strtol(c->size, NULL, 16);
  c->state = c->left ? CHUNK_DATA : TRAILER;
}
// 1: the answer is whole, 0: more to come, -1: not HTTP as we know it.
static int feed(Conn* c, const char* p, int n, int64_t t) {
  while (n > 0) {
    int used = 1;
    switch (c->state) {
      case HEAD:
        used = take_head(c, p, n);
        if (used < 0) return -1;
        if (c->state == BY_LENGTH && c->left == 0) return 1;
        break;
      case UNTIL_EOF: scan(c, p, n, t); return 0;
      case BY_LENGTH:
      case CHUNK_DATA:
        used = n < c->left ? n : c->left;
        scan(c, p, used, t);
        c->left -= used;
        if (c->left) break;
        if (c->state == BY_LENGTH) return 1;
        c->state = CHUNK_END;
        break;
      case CHUNK_END:
        if (*p == '\n') c->state = CHUNK_SIZE;
        break;
      case CHUNK_SIZE: take_size(c, *p); break;
      case TRAILER:
        if (*p == '\n') {
          if (c->size_len == 0) return 1;
          c->size_len = 0;
        } else if (*p != '\r') {
          c->size_len++;
        }
        break;
    }
    p += used;
    n -= used;
  }
  return 0;
}
static void lost(Conn* c, int index) {
  hang_up(c);
  if (!c->working) return;  // an idle connection that the server closed after its work
  if (c->state == UNTIL_EOF && c->status) {
    finish(c);
  } else {
    result.errors++;
    c->requests++;
  }
  next(c, index);
}
static void connected(Conn* c, int index) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    result.errors++;
    hang_up(c);
    retire(c);
    return;
  }
  c->connected = true;
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = index};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
  ask(c);
}
static void serve(Conn* c, int index, uint32_t events) {
  static char buffer[262144];
  if (!c->connected) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(c, index);
    return;
  }
  int r = recv(c->fd, buffer, sizeof buffer, 0);
  if (r < 0 && errno == EAGAIN) return;
  int64_t t = now_ns();
  result.reads++;
  if (r <= 0) {
    lost(c, index);
    return;
  }
  int f = feed(c, buffer, r, t);
  if (f == 1) {
    finish(c);
    next(c, index);
  } else if (f < 0) {
    result.errors++;
    hang_up(c);
    retire(c);
  }
}
static int start_some(int started, int64_t begun) {  // all at once, or evenly over the ramp
  int wanted = opt.connections;
  if (opt.ramp_ms && !warming)
    wanted = (int)((now_ns() - begun) / 1e6 / opt.ramp_ms * opt.connections) + 1;
  if (wanted > opt.connections) wanted = opt.connections;
  for (; started < wanted; started++) {
    Conn* c = &conns[started];
    c->requests = 0;
    if (c->fd >= 0 && c->connected && !c->close_after) {
      c->working = true;
      ask(c);
    } else {
      if (c->fd >= 0) hang_up(c);
      dial(c, started);
    }
    if (!opt.ramp_ms && started % 128 == 127) usleep(500);
  }
  return started;
}
static void run(bool warm) {
  static struct epoll_event events[1024];
  int64_t begun = now_ns(), next_look = begun;
  int started = 0;
  done = 0;
  warming = warm;
  result.begun = result.ended = begun;
  while (done < opt.connections) {
    int64_t t = now_ns();
    if ((t - begun) / 1e9 > opt.max_seconds) break;
    started = start_some(started, begun);
    if (opt.pids && t > next_look) {
      double rss = rss_mib(opt.pid, opt.pids);
      if (rss > result.rss_peak) result.rss_peak = rss;
      next_look = t + 200000000;
    }
    int n = epoll_wait(ep, events, 1024, started < opt.connections ? 1 : 100);
    for (int k = 0; k < n; k++) {
      int index = events[k].data.u32;
      serve(&conns[index], index, events[k].events);
    }
  }
}
static void read_options(int argc, char** argv) {
  int o;
  while ((o = getopt(argc, argv, "p:c:r:n:s:u:m:k:H:P:R:T:w:")) != -1) switch (o) {
      case 'p': opt.port = atoi(optarg); break;
      case 'c': opt.connections = atoi(optarg); break;
      case 'r': opt.requests = atoi(optarg); break;
      case 'n': opt.chunks = atoi(optarg); break;
      case 's': opt.stream = atoi(optarg); break;
      case 'u': opt.path = optarg; break;
      case 'm': opt.model = optarg; break;
      case 'k': opt.key = optarg; break;
      case 'R': opt.ramp_ms = atoi(optarg); break;
      case 'T': opt.max_seconds = atof(optarg); break;
      case 'w': opt.warm = atoi(optarg); break;
      case 'H': {
        size_t used = strlen(opt.headers);
        snprintf(opt.headers + used, sizeof opt.headers - used, "%s\r\n", optarg);
        break;
      }
      case 'P':
        for (char* p = strtok(optarg, ","); p && opt.pids < 64; p = strtok(NULL, ","))
          opt.pid[opt.pids++] = atoi(p);
        break;
      default: exit(2);
    }
}
static void write_request(void) {
  char body[4096];
  int n = snprintf(body, sizeof body,
                   "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a "
                   "helpful assistant.\"},{\"role\":\"user\",\"content\":\"Tell me a story about a "
                   "gateway that relays tokens quickly.\"}],\"temperature\":0.7,"
                   "\"max_tokens\":%d,\"stream\":%s}",
                   opt.model, opt.chunks, opt.stream ? "true" : "false");
  request_len = snprintf(request, sizeof request,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                         "Content-Type: application/json\r\nAccept: */*\r\n%s"
                         "Content-Length: %d\r\n\r\n%s",
                         opt.path, opt.port, opt.key, opt.headers, n, body);
}
static void print_times(const char* name, const Hist* h) {
  printf(",\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f", name, quantile_us(h, .5), name,
         quantile_us(h, .99));
}
static void print_result(double rss_before, double cpu) {
  double wall = (result.ended - result.begun) / 1e9, all = (now_ns() - result.begun) / 1e9;
  if (wall <= 0) wall = 1e-9;
  printf(
      "{\"ok\":%lu,\"wanted\":%lu,\"bad_status\":%lu,\"bad_count\":%lu,\"bad_example\":%d,"
      "\"errors\":%lu,\"seconds\":%.4f,\"requests_s\":%.1f,\"chunks_s\":%.0f,\"chunks\":%lu,"
      "\"seen\":%lu,"
      "\"cpu_s\":%.4f,\"cpu_share\":%.3f,\"rss_before_mib\":%.1f,\"rss_peak_mib\":%.1f",
      result.ok, (uint64_t)opt.connections * opt.requests, result.bad_status, result.bad_count,
      result.bad_example, result.errors, wall, result.ok / wall, result.chunks / wall,
      result.chunks, result.seen, cpu, cpu / all, rss_before, result.rss_peak);
  print_times("first", &result.first);
  print_times("arrival", &result.arrival);
  print_times("delay", &result.delay);
  print_times("gap", &result.gap);
  print_times("total", &result.total);
  printf(",\"chunks_a_read\":%.2f}\n", result.reads ? (double)result.chunks / result.reads : 0);
  if (result.bad_len) fprintf(stderr, "%.*s\n", result.bad_len, result.bad_body);
}
int main(int argc, char** argv) {
  read_options(argc, argv);
  settle_in();
  write_request();
  address = loopback(opt.port);
  ep = epoll_create1(0);
  conns = calloc(opt.connections, sizeof(Conn));
  for (int i = 0; i < opt.connections; i++) conns[i].fd = -1;
  double rss_before = rss_mib(opt.pid, opt.pids);
  if (opt.warm) run(true);
  result.errors = result.reads = 0;
  result.rss_peak = 0;
  double cpu = cpu_seconds(opt.pid, opt.pids);
  run(false);
  print_result(rss_before, cpu_seconds(opt.pid, opt.pids) - cpu);
  return 0;
}
