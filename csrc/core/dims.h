// A list of dimensions with the interface of std::vector. Up to five of them, which is all the
// device takes (ane_facts.md D 10), lie in the object itself: a program has several shapes for each
// operation, and memory of their own was three tenths of what compiling asked for.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <utility>

namespace milane {

class Dims {
 public:
  using value_type = std::int64_t;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = std::int64_t&;
  using const_reference = const std::int64_t&;
  using iterator = std::int64_t*;
  using const_iterator = const std::int64_t*;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  Dims() = default;
  explicit Dims(std::size_t n, std::int64_t value = 0) { resize(n, value); }
  Dims(std::initializer_list<std::int64_t> values) : Dims(values.begin(), values.end()) {}
  template <std::forward_iterator It>
  Dims(It first, It last) {
    reserve(static_cast<std::size_t>(std::distance(first, last)));
    for (; first != last; ++first) data_[size_++] = static_cast<std::int64_t>(*first);
  }
  Dims(const Dims& o) {
    if (o.data_ == o.inside_) {
      std::copy(o.inside_, o.inside_ + kInside, inside_);
      size_ = o.size_;
    } else {
      assign(o.begin(), o.end());
    }
  }
  Dims(Dims&& o) noexcept { take(o); }
  Dims& operator=(const Dims& o) {
    if (this != &o) assign(o.begin(), o.end());
    return *this;
  }
  Dims& operator=(Dims&& o) noexcept {
    if (this == &o) return *this;
    release();
    take(o);
    return *this;
  }
  ~Dims() { release(); }

  iterator begin() { return data_; }
  iterator end() { return data_ + size_; }
  const_iterator begin() const { return data_; }
  const_iterator end() const { return data_ + size_; }
  reverse_iterator rbegin() { return reverse_iterator(end()); }
  reverse_iterator rend() { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const { return const_reverse_iterator(begin()); }

  std::int64_t* data() { return data_; }
  const std::int64_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  reference operator[](std::size_t i) { return data_[i]; }
  const_reference operator[](std::size_t i) const { return data_[i]; }
  reference front() { return data_[0]; }
  const_reference front() const { return data_[0]; }
  reference back() { return data_[size_ - 1]; }
  const_reference back() const { return data_[size_ - 1]; }

  void reserve(std::size_t n) {
    if (n <= capacity_) return;
    n = std::max(n, 2 * capacity_);
    auto* const larger = new std::int64_t[n];
    std::copy(begin(), end(), larger);
    release();
    data_ = larger;
    capacity_ = n;
  }
  void resize(std::size_t n, std::int64_t value = 0) {
    reserve(n);
    if (n > size_) std::fill(data_ + size_, data_ + n, value);
    size_ = n;
  }
  void clear() { size_ = 0; }
  void assign(std::size_t n, std::int64_t value) {
    clear();
    resize(n, value);
  }
  // `first` and `last` are not in this list.
  template <std::forward_iterator It>
  void assign(It first, It last) {
    clear();
    insert(end(), first, last);
  }
  void push_back(std::int64_t value) {
    reserve(size_ + 1);
    data_[size_++] = value;
  }
  void pop_back() { --size_; }
  iterator insert(const_iterator where, std::int64_t value) {
    return insert(where, &value, &value + 1);
  }
  iterator insert(const_iterator where, std::initializer_list<std::int64_t> values) {
    return insert(where, values.begin(), values.end());
  }
  // `first` and `last` are not in this list.
  template <std::forward_iterator It>
  iterator insert(const_iterator where, It first, It last) {
    const std::ptrdiff_t at = where - data_;
    const auto n = static_cast<std::size_t>(std::distance(first, last));
    reserve(size_ + n);
    std::copy_backward(data_ + at, data_ + size_, data_ + size_ + n);
    std::copy(first, last, data_ + at);
    size_ += n;
    return data_ + at;
  }
  iterator erase(const_iterator where) { return erase(where, where + 1); }
  iterator erase(const_iterator first, const_iterator last) {
    std::int64_t* const at = data_ + (first - data_);
    std::copy(last, static_cast<const_iterator>(end()), at);
    size_ -= static_cast<std::size_t>(last - first);
    return at;
  }

  friend bool operator==(const Dims& a, const Dims& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
  friend std::strong_ordering operator<=>(const Dims& a, const Dims& b) {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  static constexpr std::size_t kInside = 5;

  // Back to the space inside; what was there is not kept.
  void release() {
    if (data_ != inside_) delete[] data_;
    data_ = inside_;
    capacity_ = kInside;
  }
  // From an empty list with its space inside.
  void take(Dims& o) {
    size_ = std::exchange(o.size_, 0);
    if (o.data_ == o.inside_) {
      std::copy(o.inside_, o.inside_ + kInside, inside_);
    } else {
      data_ = std::exchange(o.data_, o.inside_);
      capacity_ = std::exchange(o.capacity_, kInside);
    }
  }

  std::int64_t* data_ = inside_;
  std::size_t size_ = 0;
  std::size_t capacity_ = kInside;
  std::int64_t inside_[kInside] = {};
};

}  // namespace milane
