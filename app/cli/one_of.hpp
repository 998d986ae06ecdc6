#pragma once
/// A command-line option with a fixed set of words as its values. Pure.

#include <map>
#include <string>
#include <type_traits>

#include <CLI/CLI.hpp>

namespace longshore {

/// Turns a word into its enumerator, or names the words that there are. CLI11's own validator prints the enumerators,
/// and those of one byte come out as control characters.
template <class Enum>
CLI::Validator one_of(std::map<std::string, Enum> words) {
  std::string names;
  for (const auto& [word, unused] : words)
    names += (names.empty() ? "" : "|") + word;
  const auto transform = [words = std::move(words), names](std::string& text) -> std::string {
    const auto found = words.find(text);
    if (found == words.end())
      return "\"" + text + "\" is not one of " + names;
    text = std::to_string(static_cast<std::underlying_type_t<Enum>>(found->second));
    return {};
  };
  return {transform, names, "one of"};
}

}  // namespace longshore
