// lock.h: a lock of the C library's. The C++ libraries' own are objects of theirs, of which a host may show none.
#ifndef RELINK_UNIT_LOCK_H_
#define RELINK_UNIT_LOCK_H_

#include <pthread.h>

namespace relink {

class Lock {
 public:
  // Holds it as long as this lives.
  class Guard {
   public:
    explicit Guard(Lock& lock) : lock_(lock) { pthread_mutex_lock(&lock_.mutex_); }
    ~Guard() { pthread_mutex_unlock(&lock_.mutex_); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Lock& lock_;
  };

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

}  // namespace relink

#endif  // RELINK_UNIT_LOCK_H_
