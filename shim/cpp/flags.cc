// flags.cc: V8 flags that Node sets. They are process-wide, so they reach the host too; every one is reported. Those
// that the host's V8 does not know although the guest's does are dropped instead of failing Node's start.
//
// V8's SetFlagsFromCommandLine(remove_flags = true) is the quiet way to ask: it takes the flags it knows out of the
// list, leaves the others and prints nothing about them. Each flag is offered alone. A V8 may have frozen its flags when it was
// initialised (since 10.5 it does, unless told otherwise, as Node tells it); then none can be set, and each is dropped.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "internal.h"

// v8::internal::FlagList::IsFrozen (src/flags/flags.h), null where the host's V8 has or shows none.
extern "C" __attribute__((weak)) bool relink_flags_are_frozen() __asm__("_ZN2v88internal8FlagList8IsFrozenEv");

// v8::internal::FlagList::EnforceFlagImplications (src/flags/flags.h), likewise; since 13.6 only .symtab names it.
extern "C" __attribute__((weak)) void relink_flags_enforce() __asm__(
    "_ZN2v88internal8FlagList23EnforceFlagImplicationsEv");

namespace relink {
namespace {

constexpr uintptr_t kStackForScripts = 984 * 1024;  // V8's own default
std::atomic<uintptr_t> g_stack_for_scripts{kStackForScripts};

bool frozen() { return relink_flags_are_frozen != nullptr && relink_flags_are_frozen(); }

char normal(char c) { return c == '_' ? '-' : c; }

// The name in "--no-some_flag=1": "some-flag".
std::string flag_name(const char* flag) {
  while (*flag == '-') flag++;
  std::string name;
  for (; *flag != '\0' && *flag != '='; flag++) name += normal(*flag);
  if (name.compare(0, 3, "no-") == 0) name.erase(0, 3);
  return name;
}

bool is_foreign(const char* flag) {
  const char* const* known = host().foreign_flags;
  if (known == nullptr) return false;
  std::string name = flag_name(flag);
  for (; *known != nullptr; known++) {
    if (flag_name(*known) == name) return true;
  }
  return false;
}

// Offers argv[0] to the host's V8, with argv[1] if it may be its value. Returns how many of them V8 took: 0, 1 or 2.
int offer(char** argv, int argc) {
  char program[] = "relink";
  bool with_value = argc > 1 && argv[1][0] != '-';
  char* list[] = {program, argv[0], with_value ? argv[1] : nullptr};
  int offered = with_value ? 3 : 2;
  int left = offered;
  v8::V8::SetFlagsFromCommandLine(&left, list, true);
  if (left > 1 && list[1] == argv[0]) return 0;
  return offered - left;
}

// Flags that V8 lets imply --log, not in its table but when it is initialised (v8.cc): a logger without it fails a check.
bool needs_log(const char* flag) {
  static const char* const kNames[] = {"prof", "prof-cpp", "ll-prof", "perf-prof", "perf-basic-prof", "gdbjit"};
  std::string name = flag_name(flag);
  if (strncmp(flag, "--no", 4) == 0) return false;
  for (const char* known : kNames) {
    if (name == known) return true;
  }
  return false;
}

// --stack-size=KIB, or its value behind it.
void note_stack_size(const char* flag, const char* next) {
  if (flag_name(flag) != "stack-size") return;
  const char* value = strchr(flag, '=');
  value = value != nullptr ? value + 1 : next;
  unsigned long kib = value == nullptr ? 0 : strtoul(value, nullptr, 10);
  if (kib > 0 && kib < (1ul << 30)) g_stack_for_scripts.store(kib * 1024);
}

// --max-old-space-size=MIB, which V8 takes no more: units give it to each isolate of the guest's (relink_unit_services.heap_limit).
std::atomic<uint64_t> g_heap_limit{0};

bool note_heap_limit(const char* flag) {
  const char* value = strchr(flag, '=');
  if (flag_name(flag) != "max-old-space-size" || value == nullptr) return false;
  g_heap_limit.store(strtoull(value + 1, nullptr, 10) << 20);
  return true;
}

// Sets one flag or drops a foreign one; returns how many of argv are done with, 0 if the flag is unknown.
int set_or_drop(char** argv, int argc, bool* any_set) {
  if (frozen()) {
    if (!note_heap_limit(argv[0])) report(RELINK_EVENT_FLAG_FILTERED, 0, argv[0]);
    return 1;
  }
  int taken = offer(argv, argc);
  if (taken > 0) {
    *any_set = true;
    report(RELINK_EVENT_FLAG_SET, 0, argv[0]);
    note_stack_size(argv[0], taken > 1 ? argv[1] : nullptr);
    if (needs_log(argv[0])) v8::V8::SetFlagsFromString("--log");
  } else if (is_foreign(argv[0])) {
    report(RELINK_EVENT_FLAG_FILTERED, 0, argv[0]);
    return 1;
  }
  return taken;
}

// V8 enforces what flags imply when it is initialised; the host's already is.
void enforce_implications() {
  if (relink_flags_enforce != nullptr) return relink_flags_enforce();
  // Does so at its end, up to V8 12.4.
  v8::V8::SetFlagsFromString("");
}

std::vector<std::string> words(const char* text, size_t length) {
  std::vector<std::string> found;
  std::string word;
  for (size_t i = 0; i <= length; i++) {
    bool space = i == length || strchr(" \t\n\v\f\r", text[i]) != nullptr;
    if (!space) {
      word += text[i];
    } else if (!word.empty()) {
      found.push_back(std::move(word));
      word.clear();
    }
  }
  return found;
}

// --help prints and stays set: it would print again at the next flag of anyone's.
bool print_help(const std::vector<std::string>& flags) {
  if (flags.size() != 1 || flags[0] != "--help" || frozen()) return false;
  v8::V8::SetFlagsFromString("--help");
  char program[] = "relink", off[] = "--no-help";
  char* list[] = {program, off};
  int count = 2;
  v8::V8::SetFlagsFromCommandLine(&count, list, true);
  return true;
}

void set_from_words(std::vector<std::string> flags) {
  if (print_help(flags)) return;
  std::vector<char*> argv;
  for (std::string& flag : flags) argv.push_back(&flag[0]);
  bool any_set = false;
  for (size_t i = 0; i < argv.size();) {
    int done = set_or_drop(&argv[i], static_cast<int>(argv.size() - i), &any_set);
    if (done == 0) v8::V8::SetFlagsFromString(argv[i]);  // V8 says what is wrong with it, as in plain Node
    i += done == 0 ? 1 : static_cast<size_t>(done);
  }
  if (any_set) enforce_implications();
}

}  // namespace

uint64_t heap_limit() { return g_heap_limit.load(); }

uintptr_t stack_for_scripts() { return g_stack_for_scripts.load(); }

}  // namespace relink

extern "C" {

RELINK_BRIDGE_API void relink_adapter_SetFlagsFromString(const char* flags) {
  relink::set_from_words(relink::words(flags, strlen(flags)));
}

RELINK_BRIDGE_API void relink_adapter_SetFlagsFromStringLength(const char* flags, size_t length) {
  relink::set_from_words(relink::words(flags, strnlen(flags, length)));
}

// Node calls it with remove_flags = true and calls what is left a bad option.
RELINK_BRIDGE_API void relink_adapter_SetFlagsFromCommandLine(int* argc, char** argv, bool remove_flags) {
  if (!remove_flags) return v8::V8::SetFlagsFromCommandLine(argc, argv, remove_flags);
  bool any_set = false;
  int kept = 1;
  for (int i = 1; i < *argc;) {
    int done = relink::set_or_drop(&argv[i], *argc - i, &any_set);
    if (done == 0) argv[kept++] = argv[i];
    i += done == 0 ? 1 : done;
  }
  *argc = kept;
  if (any_set) relink::enforce_implications();
}

}  // extern "C"
