// process_guard.cc: libc calls of the guest that would change what belongs to the host: signal handlers, stdio, exit.
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <atomic>
#include <mutex>

#include "internal.h"

namespace relink {
namespace {

constexpr int kSignals = 65;

using SimpleHandler = void (*)(int);
using InfoHandler = void (*)(int, siginfo_t*, void*);

// One signal that the guest handles.
struct Shared {
  bool held;                          // host's action is saved below and ours is installed
  struct sigaction host;              // what was there before
  struct sigaction guest;             // what the guest asked for last
  std::atomic<bool> guest_listening;  // cleared by a handler that wanted to be called once
};

Shared g_shared[kSignals];
std::mutex g_lock;

bool has_handler(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 || (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

void call(const struct sigaction& action, int number, siginfo_t* info, void* context) {
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(number, info, context);
  } else if (has_handler(action)) {
    action.sa_handler(number);
  }
}

// The handler of a shared signal. Async-signal-safe: both actions were written before it was installed.
void dispatch(int number, siginfo_t* info, void* context) {
  int saved = errno;
  Shared& shared = g_shared[number];
  bool once = (shared.guest.sa_flags & SA_RESETHAND) != 0;
  bool listening = once ? shared.guest_listening.exchange(false) : shared.guest_listening.load();
  if (listening) call(shared.guest, number, info, context);
  call(shared.host, number, info, context);
  errno = saved;
}

// Ours: calls both, with the host's ways of being called where it has a handler.
struct sigaction joined(const Shared& shared) {
  struct sigaction action = has_handler(shared.host) ? shared.host : shared.guest;
  action.sa_sigaction = dispatch;
  action.sa_flags = (action.sa_flags | SA_SIGINFO) & ~static_cast<int>(SA_RESETHAND | SA_NODEFER);
  if (has_handler(shared.host)) sigorset(&action.sa_mask, &shared.host.sa_mask, &shared.guest.sa_mask);
  return action;
}

int share(int number, const struct sigaction& wanted) {
  Shared& shared = g_shared[number];
  if (!shared.held && sigaction(number, nullptr, &shared.host) != 0) return -1;
  shared.guest_listening.store(false);
  shared.guest = wanted;
  shared.guest_listening.store(true);
  struct sigaction action = joined(shared);
  if (sigaction(number, &action, nullptr) != 0) return -1;
  if (!shared.held) report(RELINK_EVENT_SIGNAL_SHARED, number);
  shared.held = true;
  return 0;
}

// The guest wants the default again: the host gets back what it had, unless it has set something else meanwhile.
int release(int number) {
  Shared& shared = g_shared[number];
  if (!shared.held) return 0;
  shared.guest_listening.store(false);
  struct sigaction now;
  if (sigaction(number, nullptr, &now) != 0) return -1;
  shared.held = false;
  if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != dispatch) return 0;
  return sigaction(number, &shared.host, nullptr);
}

// What the guest believes to be in force.
int current(int number, struct sigaction* old) {
  if (!g_shared[number].held) return sigaction(number, nullptr, old);
  *old = g_shared[number].guest;
  return 0;
}

}  // namespace
}  // namespace relink

extern "C" {

// Guest and host share a signal: the host's handler goes on being called, after the guest's. Where the guest sets no
// handler nothing of the host's changes.
RELINK_BRIDGE_API int relink_adapter_sigaction(int number, const struct sigaction* wanted, struct sigaction* old) {
  if (number <= 0 || number >= relink::kSignals) return sigaction(number, wanted, old);
  std::lock_guard<std::mutex> guard(relink::g_lock);
  if (old != nullptr && relink::current(number, old) != 0) return -1;
  if (wanted == nullptr) return 0;
  struct sigaction action = *wanted;  // `wanted` and `old` may be the same
  return relink::has_handler(action) ? relink::share(number, action) : relink::release(number);
}

// libuv makes pipes non-blocking; the flag belongs to the open file that the host writes to as well, and its printf
// would lose output. The guest's own writes to a full pipe then block, as Node documents for pipes.
RELINK_BRIDGE_API int relink_adapter_ioctl(int fd, unsigned long request, void* argument) {
  bool stdio = fd >= 0 && fd <= 2;
  if (stdio && request == FIONBIO) return 0;
  return ioctl(fd, request, argument);
}

// The guest is never unloaded, and at exit() its threads may still run: its static objects, also those made late, must
// not be destroyed under them, nor its OpenSSL. So its exit handlers are not registered at all.
RELINK_BRIDGE_API int relink_adapter_cxa_atexit(void (*)(void*), void*, void*) { return 0; }

}  // extern "C"
