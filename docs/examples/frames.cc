// frames.cc: a game's frame loop that ticks Node on its own thread. Node serves HTTP meanwhile, and asks itself.
//
// frames() is called by a program that has a V8 and has initialised it. In the tests that is fixtures/hosts/v8_main.cc.
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "relink.h"

namespace {

// A handle that is given back at the end of its scope.
class Node {
 public:
  explicit Node(const char* guest) {
    relink_options options = {};
    options.size = sizeof options;
    options.mode = RELINK_TICKED;
    options.guest = guest;
    options.wait_ms = 10000;
    if (relink_create(&options, &runtime_) != RELINK_OK) std::fprintf(stderr, "frames: %s\n", relink_last_error());
  }
  ~Node() { relink_destroy(runtime_, 5000); }
  Node(const Node&) = delete;
  void operator=(const Node&) = delete;
  relink_runtime* get() const { return runtime_; }

 private:
  relink_runtime* runtime_ = nullptr;
};

const char kServer[] = R"JS(
  const http = require('http');
  const server = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
  exports.ask = (path) => new Promise((done, fail) => server.listen(0, '127.0.0.1', () =>
    http.get({ port: server.address().port, path }, (r) => r.setEncoding('utf8').on('data', done)).on('error', fail)));
)JS";

// Called in one of the frames.
void told(void* context, int answer, const char* result) {
  *static_cast<std::string*>(context) = answer == RELINK_OK ? result : relink_last_error();
}

}  // namespace

int frames(const char* guest) {
  using namespace std::chrono;
  Node node(guest);
  if (node.get() == nullptr) return 1;
  std::string answer;
  int failed = relink_run(node.get(), RELINK_STRING, kServer, "server", 5000, nullptr);
  if (!failed) failed = relink_call_async(node.get(), "server.ask", "[\"/frames\"]", told, &answer);
  auto next = steady_clock::now();
  long frame = 0;
  while (!failed && answer.empty() && frame < 100000) {
    frame++;                                                            // the game's own work
    if (relink_tick(node.get(), 2000) != RELINK_OK) break;              // two of about eight milliseconds for Node
    std::this_thread::sleep_until(next += microseconds(1000000 / 128));
  }
  if (failed) std::fprintf(stderr, "frames: %s\n", relink_last_error());
  std::printf("Node says %s\n", answer.c_str());
  return answer == "\"you asked for /frames\"" ? 0 : 1;
}

#ifdef HOST
extern "C" int host_main(int argc, char** argv) { return argc == 2 ? frames(argv[1]) : 2; }
#endif
