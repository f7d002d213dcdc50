// fast_calls.cc: fast API calls. What a guest says of its fast functions is compiled in, and V8 reads it.
//
// Types were renumbered between 10.3 and 10.7, and by 11.3, and have kept their numbers since. In 12.9 the options that a function may take became
// others, and later no type says any more that an argument is an array: for functions that have one of these V8 is given the slow
// function alone. Node 18 has none that does.
#include "fast_calls.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "lock.h"
#include "unit.h"

namespace guest {

// v8-fast-api-calls.h: CTypeInfo
struct CTypeInfo {
  unsigned char type;
  unsigned char sequence;
  unsigned char flags;
};
static_assert(sizeof(CTypeInfo) == 3, "v8-fast-api-calls.h");

// v8-fast-api-calls.h: CFunctionInfo
struct CFunctionInfo {
  CTypeInfo result;
  unsigned char unused;  // since 11.8: how V8 passes 64-bit integers; 0 is as before, as numbers
  unsigned argument_count;
  const CTypeInfo* arguments;
};
static_assert(sizeof(CFunctionInfo) == 16, "v8-fast-api-calls.h");

// v8-fast-api-calls.h: CFunction
struct CFunction {
  const void* address;
  const CFunctionInfo* info;
};

// v8-memory-span.h: MemorySpan
struct CFunctions {
  const CFunction* data;
  size_t size;
};
static_assert(sizeof(v8::MemorySpan<const v8::CFunction>) == sizeof(CFunctions), "v8-memory-span.h");

}  // namespace guest

namespace relink {
namespace {

// Whether V8 reads such an argument as the guest means it.
#if RELINK_FAST_CALLS_WITHOUT_ARRAYS && RELINK_GUEST < 1306
bool is_as_before(const guest::CTypeInfo& argument) {
  constexpr unsigned char kOptions = 255;  // CTypeInfo::kCallbackOptionsType
  return argument.type != kOptions && argument.sequence == 0;
}
#else
bool is_as_before(const guest::CTypeInfo&) { return true; }
#endif

bool is_as_before(const guest::CFunction& function) {
  const guest::CTypeInfo* arguments = function.info->arguments;
  return std::all_of(arguments, arguments + function.info->argument_count,
                     [](const guest::CTypeInfo& argument) { return is_as_before(argument); });
}

#if RELINK_GUEST < 1103

// v8-fast-api-calls.h, CTypeInfo::Type: a type that the guest has by its number in V8 10.2, kVoid to kAny. Since 10.7 kUint8 stands between
// them, since 11.3 kPointer and kSeqOneByteString, too.
guest::CTypeInfo hosts_type(guest::CTypeInfo type) {
  constexpr unsigned char kNumbers[] = {0, 1, 3, 4, 5, 6, 7, 8, RELINK_HOST < 1103 ? 9 : 10, RELINK_HOST < 1103 ? 10 : 12,
                                        RELINK_HOST < 1103 ? 11 : 13};
  if (type.type < sizeof kNumbers) type.type = kNumbers[type.type];
  return type;
}

// What the guest says of the arguments of a function, and what V8 is told of them.
struct Arguments {
  const guest::CTypeInfo* guests;
  guest::CTypeInfo* hosts;
  unsigned count;
};

// Whether the guest is there that says it: this unit may have served another, which is gone and asks for nothing.
bool is_there(const Arguments& one) {
  guest::CTypeInfo read;
  auto* last = const_cast<guest::CTypeInfo*>(one.guests + (one.count == 0 ? 0 : one.count - 1));
  iovec local = {&read, sizeof read}, remote = {last, sizeof read};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != -1 || errno != EFAULT;
}

// Those that were not written yet when V8's constructor was called with the place of them.
Lock g_lock;
std::vector<Arguments>& pending() {
  static auto* const all = new std::vector<Arguments>;
  return *all;
}

#endif

}  // namespace

void describe_fast_calls() {
#if RELINK_GUEST < 1103
  Lock::Guard guard(g_lock);
  for (const Arguments& one : pending()) {
    if (is_there(one)) std::transform(one.guests, one.guests + one.count, one.hosts, hosts_type);
  }
  pending().clear();
#endif
}

const v8::CFunction* hosts_fast_call(const v8::CFunction* guests) {
  if (guests == nullptr) return nullptr;
  return is_as_before(*reinterpret_cast<const guest::CFunction*>(guests)) ? guests : nullptr;
}

const v8::MemorySpan<const v8::CFunction>& hosts_fast_calls(const v8::MemorySpan<const v8::CFunction>& guests) {
  static const v8::MemorySpan<const v8::CFunction> none;
  const auto& all = reinterpret_cast<const guest::CFunctions&>(guests);
  const bool as_before = std::all_of(all.data, all.data + all.size,
                                     [](const guest::CFunction& function) { return is_as_before(function); });
  return as_before ? guests : none;
}

}  // namespace relink

extern "C" {

RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_function_template(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect, const v8::CFunction* fast,
    uint16_t instance_type, uint16_t receivers_begin, uint16_t receivers_end) {
  return v8::FunctionTemplate::New(isolate, callback, data, signature, length, behavior, side_effect,
                                   relink::hosts_fast_call(fast), instance_type, receivers_begin, receivers_end);
}

RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_overloads(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect,
    const v8::MemorySpan<const v8::CFunction>& fast) {
  return v8::FunctionTemplate::NewWithCFunctionOverloads(isolate, callback, data, signature, length, behavior,
                                                         side_effect, relink::hosts_fast_calls(fast));
}

// Since 11.8 V8's constructor has one argument more.
RELINK_UNIT_API void relink_unit_c_function_info(guest::CFunctionInfo* self, const guest::CTypeInfo& result,
                                                 unsigned argument_count, const guest::CTypeInfo* arguments) {
#if RELINK_GUEST < 1103
  // For ever, as what it describes: V8 reads it whenever it compiles a call.
  auto* types = new guest::CTypeInfo[argument_count]();
  *self = {relink::hosts_type(result), 0, argument_count, types};
  relink::Lock::Guard guard(relink::g_lock);
  relink::pending().push_back({arguments, types, argument_count});
#else
  *self = {result, 0, argument_count, arguments};
#endif
}

}  // extern "C"
