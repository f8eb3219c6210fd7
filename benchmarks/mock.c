// Mock OpenAI-compatible upstream: one thread, epoll, loopback only.
//   mock [-p port] [-n chunks] [-d delay_us] [-b burst] [-T seconds to live]
// POST …/chat/completions {"stream":true,"max_tokens":N}: N SSE chunks, a finish chunk, [DONE]
//                         {"stream":false}: one chat.completion with Content-Length
// POST /api/chat          {"stream":true}: N NDJSON lines (Ollama's shape)
// GET  /ctl?delay_us=X&burst=B&n=N sets the defaults (max_tokens in a request overrides n)
// GET  anything else: one model, "mock"
// Each delta is "~" and the clock in nanoseconds (its low 16 digits): loadgen times every chunk.
// `burst` events leave in one write when there is no delay; with a delay, one event a tick.
#include "common.h"
#define MAX_FD 20000
#define IN_SIZE 65536
#define OUT_SIZE 65536

typedef struct {
  int fd, next;  // next: the following connection of the queue
  char* in;
  int in_len;
  char* out;  // what the socket did not take yet
  int out_len, out_pos, out_cap;
  int left, total;  // events of the answer under way
  int64_t due;
  bool streaming, queued, want_out, ollama;
} Conn;

typedef struct {
  char bytes[1024];
  int len, stamp;  // stamp: where the clock goes, -1 for none
} Piece;

static Conn* conns[MAX_FD];
static int ep, chunks = 50, burst = 1;
static int64_t delay_ns = 0;
static int head = -1, last = -1;  // queue of connections, by due time
static uint64_t served = 0;
static Piece sse_first, sse_next, ndjson_next, sse_tail, ndjson_tail;

static const char SSE_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char NDJSON_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
#define STAMP "~0000000000000000"
#define COMMON                                                                    \
  "\"id\":\"chatcmpl-mock0123456789\",\"object\":\"chat.completion.chunk\","      \
  "\"created\":1700000000,\"model\":\"mock\",\"system_fingerprint\":\"fp_mock\"," \
  "\"choices\":[{\"index\":0,"

static void add(Piece* p, const char* body) {  // as one chunk of the chunked coding
  p->len += sprintf(p->bytes + p->len, "%zx\r\n%s\r\n", strlen(body), body);
  char* stamp = memchr(p->bytes, '~', p->len);
  p->stamp = stamp ? (int)(stamp - p->bytes) + 1 : -1;
}
static void add_end(Piece* p) { p->len += sprintf(p->bytes + p->len, "0\r\n\r\n"); }
static void build_pieces(void) {
  add(&sse_first, "data: {" COMMON "\"delta\":{\"role\":\"assistant\",\"content\":\"" STAMP
                  "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  add(&sse_next, "data: {" COMMON "\"delta\":{\"content\":\"" STAMP
                 "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  add(&sse_tail,
      "data: {" COMMON "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
  add(&sse_tail, "data: [DONE]\n\n");
  add_end(&sse_tail);
  add(&ndjson_next,
      "{\"model\":\"mock\",\"created_at\":\"2024-01-01T00:00:00.000000Z\",\"message\":"
      "{\"role\":\"assistant\",\"content\":\"" STAMP "\"},\"done\":false}\n");
  add(&ndjson_tail,
      "{\"model\":\"mock\",\"created_at\":\"2024-01-01T00:00:00.000000Z\",\"message\":"
      "{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\","
      "\"total_duration\":1,\"load_duration\":1,\"prompt_eval_count\":1,"
      "\"prompt_eval_duration\":1,\"eval_count\":1,\"eval_duration\":1}\n");
  add_end(&ndjson_tail);
}
static void watch_out(Conn* c, bool out) {
  if (c->want_out == out) return;
  c->want_out = out;
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.fd = c->fd};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
static void hang_up(Conn* c) {
  epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
  c->streaming = c->want_out = false;
  c->in_len = c->out_len = c->out_pos = 0;
  c->fd = -1;
}
static bool send_all(Conn* c, const char* p, int n) {  // false: the connection has died
  if (c->out_len == c->out_pos) {
    int w = send(c->fd, p, n, MSG_NOSIGNAL);
    if (w == n) return true;
    if (w < 0) {
      if (errno != EAGAIN) {
        hang_up(c);
        return false;
      }
      w = 0;
    }
    p += w;
    n -= w;
    c->out_len = c->out_pos = 0;
  }
  if (c->out_len + n > c->out_cap) {
    c->out_cap = (c->out_len + n) * 2;
    c->out = realloc(c->out, c->out_cap);
  }
  memcpy(c->out + c->out_len, p, n);
  c->out_len += n;
  watch_out(c, true);
  return true;
}
static void enqueue(Conn* c, int index) {
  if (c->queued) return;
  c->queued = true;
  c->next = -1;
  if (last < 0)
    head = index;
  else
    conns[last]->next = index;
  last = index;
}
static int dequeue(void) {
  int index = head;
  head = conns[index]->next;
  if (head < 0) last = -1;
  conns[index]->queued = false;
  return index;
}
static void parse(Conn* c, int index);

static void emit(Conn* c, int index, int count, bool first) {  // `count` events in one write
  char b[OUT_SIZE];
  int n = 0;
  if (first) {
    const char* h = c->ollama ? NDJSON_HEAD : SSE_HEAD;
    n = strlen(h);
    memcpy(b, h, n);
  }
  while (count-- > 0 && c->left > 0 && n < OUT_SIZE - 4096) {
    const Piece* p = c->ollama ? &ndjson_next : c->left == c->total ? &sse_first : &sse_next;
    memcpy(b + n, p->bytes, p->len);
    put_stamp(b + n + p->stamp);
    n += p->len;
    c->left--;
    served++;
  }
  if (c->left == 0) {
    const Piece* tail = c->ollama ? &ndjson_tail : &sse_tail;
    memcpy(b + n, tail->bytes, tail->len);
    n += tail->len;
    c->streaming = false;
  }
  if (!send_all(c, b, n)) return;
  if (!c->streaming) {
    if (c->in_len) parse(c, index);
  } else if (c->out_pos == c->out_len || delay_ns) {  // full socket, no delay: on EPOLLOUT
    enqueue(c, index);
  }
}
static const char* header(const char* text, const char* end, const char* name) {
  size_t n = strlen(name);
  for (const char* p = text; p + n < end; p++)
    if (*p == '\n' && strncasecmp(p + 1, name, n) == 0) return p + 1 + n;
  return NULL;
}
static long number_after(const char* text, const char* key, long otherwise) {
  const char* p = strstr(text, key);
  return p ? atol(p + strlen(key)) : otherwise;
}
// Takes one request off the front of `c->in`. False: it is not all there yet.
static bool take_request(Conn* c, char* line, char* body) {
  c->in[c->in_len] = 0;
  char* end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
  if (!end) return false;
  char *p = end + 4, *all = c->in + c->in_len;
  const char* length = header(c->in, end, "content-length:");
  long n = 0;
  if (length) {
    n = atol(length);
    if (n < 0 || n >= IN_SIZE || all - p < n) return false;
    memcpy(body, p, n);
    p += n;
  } else if (header(c->in, end, "transfer-encoding:")) {
    for (;;) {
      char* eol = memmem(p, all - p, "\r\n", 2);
      if (!eol) return false;
      long size = strtol(p, NULL, 16);
      if (size < 0 || size + 4 > all - eol) return false;
      if (size == 0) {
        p = eol + 4;
        break;
      }
      memcpy(body + n, eol + 2, size);
      n += size;
      p = eol + 2 + size + 2;
    }
  }
  body[n] = 0;
  int i = 0;
  for (; i < 511 && c->in[i] != '\r'; i++) line[i] = c->in[i];
  line[i] = 0;
  c->in_len = all - p;
  memmove(c->in, p, c->in_len);
  return true;
}
static bool answer(Conn* c, const char* body) {
  char b[2048];
  int n = snprintf(b, sizeof b,
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   strlen(body), body);
  return send_all(c, b, n);
}
static bool control(Conn* c, const char* line) {
  delay_ns = number_after(line, "delay_us=", delay_ns / 1000) * 1000;
  chunks = number_after(line, "&n=", chunks);
  burst = number_after(line, "burst=", burst);
  char b[160];
  snprintf(b, sizeof b, "{\"delay_us\":%ld,\"n\":%d,\"burst\":%d,\"served\":%lu}\n",
           (long)(delay_ns / 1000), chunks, burst, (unsigned long)served);
  return answer(c, b);
}
static bool complete(Conn* c) {
  static char b[] =
      "{\"id\":\"chatcmpl-mock0123456789\",\"object\":\"chat.completion\",\"created\":1700000000,"
      "\"model\":\"mock\",\"system_fingerprint\":\"fp_mock\",\"choices\":[{\"index\":0,"
      "\"message\":{\"role\":\"assistant\",\"content\":\"" STAMP
      " Hello there, this is a mock answer of a moderate length for timing.\"},"
      "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
      "\"completion_tokens\":12,\"total_tokens\":21}}";
  put_stamp(strchr(b, '~') + 1);
  served++;
  return answer(c, b);
}
static void generate(Conn* c, int index, const char* body) {
  long n = number_after(body, "\"max_tokens\":", chunks);
  c->left = c->total = n < 1 ? chunks : n;
  c->streaming = true;
  c->due = now_ns();
  emit(c, index, delay_ns ? 1 : burst, true);
  c->due += delay_ns;
}
static void parse(Conn* c, int index) {
  static char line[512], body[IN_SIZE];
  while (c->in_len && !c->streaming) {
    if (!take_request(c, line, body)) return;
    bool alive = true;
    if (strncmp(line, "GET /ctl", 8) == 0) {
      alive = control(c, line);
    } else if (strncmp(line, "POST", 4) == 0) {
      c->ollama = strstr(line, "/api/chat") != NULL;
      bool stream = strstr(body, "\"stream\":true") || strstr(body, "\"stream\": true") ||
                    (c->ollama && !strstr(body, "\"stream\""));
      if (stream)
        generate(c, index, body);
      else
        alive = complete(c);
    } else {
      alive = answer(c,
                     "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\","
                     "\"created\":1700000000,\"owned_by\":\"mock\"}]}");
    }
    if (!alive || c->fd < 0) return;
  }
}
static void accept_all(int listener) {
  for (int k = 0; k < 256; k++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (fd >= MAX_FD) {
      close(fd);
      continue;
    }
    no_delay(fd);
    if (!conns[fd]) {
      conns[fd] = calloc(1, sizeof(Conn));
      conns[fd]->in = malloc(IN_SIZE + 1);
    }
    conns[fd]->fd = fd;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}
static bool flush(Conn* c, int index) {
  int w = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos, MSG_NOSIGNAL);
  if (w < 0 && errno != EAGAIN) {
    hang_up(c);
    return false;
  }
  if (w > 0) c->out_pos += w;
  if (c->out_pos == c->out_len) {
    c->out_pos = c->out_len = 0;
    watch_out(c, false);
    if (c->streaming) enqueue(c, index);
  }
  return true;
}
static void serve(Conn* c, int index, uint32_t events) {
  if ((events & EPOLLOUT) && !flush(c, index)) return;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  int room = IN_SIZE - c->in_len;
  int r = room ? recv(c->fd, c->in + c->in_len, room, 0) : 0;
  if (r <= 0) {
    if (r == 0 || errno != EAGAIN) hang_up(c);
    return;
  }
  c->in_len += r;
  parse(c, index);
}
static void run_queue(void) {
  if (delay_ns == 0) {  // one burst for each stream that was queued when this pass began
    int until = last;
    while (head >= 0) {
      int index = dequeue();
      Conn* c = conns[index];
      if (c->fd >= 0 && c->streaming && c->out_pos == c->out_len) emit(c, index, burst, false);
      if (index == until) return;
    }
    return;
  }
  int64_t now = now_ns();
  for (int done = 0; head >= 0 && conns[head]->due <= now && done < 4096; done++) {
    int index = dequeue();
    Conn* c = conns[index];
    if (c->fd < 0 || !c->streaming) continue;
    c->due += delay_ns;
    emit(c, index, 1, false);
  }
}
static int wait_events(struct epoll_event* events, int size) {
  int64_t wait = 1000000000;
  if (head >= 0) {
    int64_t until = delay_ns ? conns[head]->due - now_ns() : 0;
    if (until < wait) wait = until < 0 ? 0 : until;
  }
  struct timespec t = {wait / 1000000000, wait % 1000000000};
  return epoll_pwait2(ep, events, size, &t, NULL);
}
static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = loopback(port);
  if (bind(fd, (void*)&a, sizeof a) || listen(fd, 8192)) {
    perror("mock: cannot listen");
    exit(1);
  }
  nonblocking(fd);
  return fd;
}
int main(int argc, char** argv) {
  int port = 9001, o;
  double life = 7200;
  while ((o = getopt(argc, argv, "p:n:d:b:T:")) != -1) switch (o) {
      case 'p': port = atoi(optarg); break;
      case 'n': chunks = atoi(optarg); break;
      case 'd': delay_ns = atol(optarg) * 1000; break;
      case 'b': burst = atoi(optarg); break;
      case 'T': life = atof(optarg); break;
      default: return 2;
    }
  settle_in();
  build_pieces();
  int listener = listen_on(port);
  ep = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
  static struct epoll_event events[1024];
  int64_t end = now_ns() + (int64_t)(life * 1e9);
  while (now_ns() < end) {
    int n = wait_events(events, 1024);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener)
        accept_all(listener);
      else if (conns[fd] && conns[fd]->fd >= 0)
        serve(conns[fd], fd, events[i].events);
    }
    run_queue();
  }
  return 0;
}
