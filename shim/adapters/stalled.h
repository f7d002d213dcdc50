// stalled.h: modules that wait at their top level, as guests of V8 11.3 have them.
#ifndef RELINK_UNIT_STALLED_H_
#define RELINK_UNIT_STALLED_H_

#include "guest.h"

namespace guest {

// std::tuple<v8::Local<v8::Module>, v8::Local<v8::Message>> of libstdc++ (<tuple>), whose last element comes first.
struct StalledModule {
  v8::Local<v8::Message> message;
  v8::Local<v8::Module> module;
};

// v8-script.h: what Module::GetStalledTopLevelAwaitMessage returns since 11.3.
using StalledModules = vector<StalledModule>;

inline StalledModule stalled(v8::Local<v8::Module> module, v8::Local<v8::Message> message) { return {message, module}; }

}  // namespace guest

#endif  // RELINK_UNIT_STALLED_H_
