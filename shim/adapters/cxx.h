// cxx.h: types of the C++ library as the guest has them. Node is compiled with libstdc++, and so is a unit for most hosts: then they
// are `std`'s. Where the host's V8 has libc++, a unit is compiled with that, `std` is the host's, and these have the layout and the
// calling convention of libstdc++ (GCC's bits/unique_ptr.h, shared_ptr_base.h, stl_vector.h, basic_string.h). Each is made of the
// host's and becomes the host's where it is given on, so that a type that crosses unconverted does not compile.
#ifndef RELINK_UNIT_CXX_H_
#define RELINK_UNIT_CXX_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifndef _LIBCPP_VERSION

namespace guest {
using std::shared_ptr;
using std::string;
using std::unique_ptr;
using std::vector;
}  // namespace guest

#else

#define RELINK_LIBCXX 1

namespace guest {

// One pointer, passed and returned in memory: its copying is not trivial. (libc++'s is passed in a register.)
template <class T>
class unique_ptr {
 public:
  unique_ptr(std::nullptr_t = nullptr) {}
  explicit unique_ptr(T* object) : object_(object) {}
  template <class U>
  unique_ptr(std::unique_ptr<U> host) : object_(host.release()) {}
  template <class U>
  unique_ptr(unique_ptr<U>&& other) : object_(other.release()) {}
  unique_ptr(unique_ptr&& other) : object_(other.release()) {}
  unique_ptr& operator=(unique_ptr&& other) {
    delete std::exchange(object_, other.release());
    return *this;
  }
  ~unique_ptr() { delete object_; }
  operator std::unique_ptr<T>() && { return std::unique_ptr<T>(release()); }
  T* get() const { return object_; }
  T* release() { return std::exchange(object_, nullptr); }
  T* operator->() const { return object_; }

 private:
  T* object_ = nullptr;
};

// std::_Sp_counted_base: who owns an object is counted in it. Its functions are called through these slots.
class Count {
 public:
  virtual ~Count() = default;
  virtual void dispose() = 0;             // nobody owns the object any more
  virtual void destroy() { delete this; }  // and nobody refers to the count
  virtual void* deleter(const void*) { return nullptr; }
  void add() { __atomic_add_fetch(&owners_, 1, __ATOMIC_RELAXED); }
  void drop() {
    if (__atomic_sub_fetch(&owners_, 1, __ATOMIC_ACQ_REL) != 0) return;
    dispose();
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_ACQ_REL) == 0) destroy();
  }

 private:
  int owners_ = 1;
  int references_ = 1;  // weak ones, and one for all owners
};

// Owns what the host's pointer owns.
template <class T>
class HostsCount final : public Count {
 public:
  explicit HostsCount(std::shared_ptr<T> host) : host_(std::move(host)) {}
  void dispose() override { host_ = nullptr; }
  const std::shared_ptr<T>& host() const { return host_; }

  // `count` as one of these, if it is one: no other class has their functions.
  static const HostsCount* of(const Count* count) {
    static const HostsCount* const known = new HostsCount(nullptr);
    const bool is = *reinterpret_cast<void* const*>(count) == *reinterpret_cast<void* const*>(known);
    return is ? static_cast<const HostsCount*>(count) : nullptr;
  }

 private:
  std::shared_ptr<T> host_;
};

// The object, and the count of its owners.
template <class T>
class shared_ptr {
 public:
  shared_ptr(std::nullptr_t = nullptr) {}
  shared_ptr(std::shared_ptr<T> host) : object_(host.get()) {
    if (host != nullptr) count_ = new HostsCount<T>(std::move(host));
  }
  // An object that another pointer owns.
  template <class U>
  shared_ptr(const shared_ptr<U>& owner, T* object) : object_(object), count_(owner.count_) {
    if (count_ != nullptr) count_->add();
  }
  shared_ptr(const shared_ptr& other) : shared_ptr(other, other.object_) {}
  shared_ptr(shared_ptr&& other)
      : object_(std::exchange(other.object_, nullptr)), count_(std::exchange(other.count_, nullptr)) {}
  shared_ptr& operator=(shared_ptr other) {
    std::swap(object_, other.object_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~shared_ptr() {
    if (count_ != nullptr) count_->drop();
  }
  // One that the host has made comes back as it was.
  operator std::shared_ptr<T>() const {
    if (count_ == nullptr) return std::shared_ptr<T>(std::shared_ptr<void>(), object_);
    if (const auto* hosts = HostsCount<T>::of(count_)) return std::shared_ptr<T>(hosts->host(), object_);
    return std::shared_ptr<T>(object_, [owner = *this](T*) {});
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  bool operator==(std::nullptr_t) const { return object_ == nullptr; }

 private:
  template <class U>
  friend class shared_ptr;

  T* object_ = nullptr;
  Count* count_ = nullptr;
};

// Begin, end, end of what is allocated.
template <class T>
class vector {
 public:
  vector() = default;
  vector(std::vector<T> host) : begin_(std::allocator<T>().allocate(host.size())), end_(begin_), last_(begin_) {
    for (T& element : host) ::new (end_++) T(std::move(element));
    last_ = end_;
  }
  vector(vector&& other)
      : begin_(std::exchange(other.begin_, nullptr)),
        end_(std::exchange(other.end_, nullptr)),
        last_(std::exchange(other.last_, nullptr)) {}
  vector& operator=(vector&& other) {
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    std::swap(last_, other.last_);
    return *this;
  }
  ~vector() {
    for (T* element = begin_; element != end_; element++) element->~T();
    if (begin_ != nullptr) ::operator delete(begin_);
  }
  T* begin() const { return begin_; }
  T* end() const { return end_; }
  const T* data() const { return begin_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  operator std::vector<T>() const { return std::vector<T>(begin_, end_); }

 private:
  T* begin_ = nullptr;
  T* end_ = nullptr;
  T* last_ = nullptr;
};

// Where the text is, its length, and room for a short one or what is allocated for a long one.
class string {
 public:
  string(const std::string& host) : length_(host.size()) {
    if (length_ >= sizeof short_) {
      text_ = static_cast<char*>(::operator new(length_ + 1));
      allocated_ = length_;
    }
    host.copy(text_, length_);
    text_[length_] = 0;
  }
  string(const string&) = delete;
  string(string&& other) : string(std::string(other.text_, other.length_)) {}
  ~string() {
    if (text_ != short_) ::operator delete(text_);
  }
  operator std::string() const { return std::string(text_, length_); }

 private:
  char* text_ = short_;
  size_t length_;
  union {
    char short_[16];
    size_t allocated_;
  };
};

static_assert(sizeof(unique_ptr<int>) == 8 && sizeof(shared_ptr<int>) == 16, "libstdc++'s");
static_assert(sizeof(vector<int>) == 24 && sizeof(string) == 32 && sizeof(Count) == 16, "libstdc++'s");

}  // namespace guest

#endif

#endif  // RELINK_UNIT_CXX_H_
