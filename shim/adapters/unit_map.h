// unit_map.h: what was made for an object of the guest's, found again by the object's address. For objects that the guest makes
// on its stack and whose constructor and destructor lead here.
#ifndef RELINK_UNIT_MAP_H_
#define RELINK_UNIT_MAP_H_

#include <map>
#include <memory>

#include "lock.h"

namespace relink {

template <class Value>
class ByAddress {
 public:
  // Replaces what an object that was never destroyed has left at the same address.
  Value* put(void* object, std::unique_ptr<Value> value) {
    Lock::Guard guard(lock_);
    return (values_[object] = std::move(value)).get();
  }

  // Stays as long as nobody takes or replaces it.
  Value* find(void* object) {
    Lock::Guard guard(lock_);
    auto found = values_.find(object);
    return found == values_.end() ? nullptr : found->second.get();
  }

  std::unique_ptr<Value> take(void* object) {
    Lock::Guard guard(lock_);
    auto found = values_.find(object);
    if (found == values_.end()) return nullptr;
    std::unique_ptr<Value> value = std::move(found->second);
    values_.erase(found);
    return value;
  }

 private:
  Lock lock_;
  std::map<void*, std::unique_ptr<Value>> values_;
};

// Lives for ever: threads may still use it while the process ends.
template <class Value>
ByAddress<Value>& by_address() {
  static auto* map = new ByAddress<Value>;
  return *map;
}

}  // namespace relink

#endif  // RELINK_UNIT_MAP_H_
