// What all of the observer uses: V8's functions by name, and what is written down. See observe.cc.
#ifndef RELINK_OBSERVE_TOOLS_H_
#define RELINK_OBSERVE_TOOLS_H_

#include <dlfcn.h>
#include <initializer_list>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

using Word = uintptr_t;
using Handle = Word*;

FILE* out;

// A function of V8's that goes by one of these names. One that is not there is written down: it is why a check cannot be made.
template <typename F>
F* find(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* found = dlsym(RTLD_DEFAULT, name)) return reinterpret_cast<F*>(found);
  }
  for (const char* name : names) fprintf(out, "lacks %s\n", name);
  fflush(out);
  return nullptr;
}
template <typename F>
F* find(const char* name) {
  return find<F>({name});
}

void truth(const char* name, Word value) {
  fprintf(out, "truth %s %lu\n", name, value);
  fflush(out);
}

// Writes down up to `size` bytes from `at` on, as far as they can be read.
void memory(Word at, size_t size) {
  unsigned char bytes[2048];
  at &= ~Word{7};
  for (size_t step = size; step >= 64; step /= 2) {
    iovec to{bytes, step}, from{reinterpret_cast<void*>(at), step};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != static_cast<ssize_t>(step)) continue;
    fprintf(out, "memory %lu ", at);
    for (size_t i = 0; i < step; i++) fprintf(out, "%02x", bytes[i]);
    fputc('\n', out);
    return;
  }
}

Word word(Word at) {
  Word found = 0;
  iovec to{&found, 8}, from{reinterpret_cast<void*>(at), 8};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 8 ? found : 0;
}

// Whether a word points at an object: its map has a map that is its own.
bool is_object(Word tagged) {
  auto map = [](Word object) { return (object & 3) == 1 ? word(object - 1) : 0; };
  const Word meta = map(map(tagged));
  return meta != 0 && map(meta) == meta;
}

// An object behind a tagged pointer, and its map.
void object(Word tagged) {
  memory(tagged, 256);
  if (Word map = word(tagged & ~Word{3})) memory(map, 64);
}

// An object and everything that its first words point at.
void graph(Word tagged, int words) {
  memory(tagged, 512);
  for (int i = 0; i < words; i++) {
    const Word found = word((tagged & ~Word{3}) + 8 * i);
    if ((found & 3) == 1) memory(found, 1024);
  }
}

void* isolate;
Handle context;

Handle text(const char* source) {
  auto make = find<Handle(void*, const char*, int, int)>("_ZN2v86String11NewFromUtf8EPNS_7IsolateEPKcNS_13NewStringTypeEi");
  return make ? make(isolate, source, 0, -1) : nullptr;
}

Handle run(const char* source) {
  auto compile = find<Handle(Handle, Handle, void*)>(
      "_ZN2v86Script7CompileENS_5LocalINS_7ContextEEENS1_INS_6StringEEEPNS_12ScriptOriginE");
  auto go = find<Handle(Handle, Handle)>("_ZN2v86Script3RunENS_5LocalINS_7ContextEEE");
  auto caught = find<void(void*, void*)>("_ZN2v88TryCatchC1EPNS_7IsolateE");
  auto end_caught = find<void(void*)>("_ZN2v88TryCatchD1Ev");
  if (!compile || !go || !caught || !end_caught) return nullptr;
  // What one script throws must not meet the next.
  alignas(16) unsigned char catcher[256];
  caught(catcher, isolate);
  Handle code = text(source);
  Handle script = code ? compile(context, code, nullptr) : nullptr;
  Handle result = script ? go(script, context) : nullptr;
  end_caught(catcher);
  return result;
}

// A persistent handle. Since V8 11.5 the function takes the value, before its handle.
Handle globalise(Handle value) {
  const char* before = "_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEPm";
  if (!value) return nullptr;
  if (dlsym(RTLD_DEFAULT, before)) return find<Handle(void*, Handle)>(before)(isolate, value);
  auto since = find<Handle(void*, Word)>("_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEm");
  return since ? since(isolate, *value) : nullptr;
}

}  // namespace

#endif  // RELINK_OBSERVE_TOOLS_H_
