#pragma once
/// How a struct becomes a message. All of CAF that the messages need stands here.
///
/// The messages of a runtime stay inside one process: they name addresses and shared memory, which mean nothing
/// elsewhere. So they need no serialization, and CAF is told so; a message that shall cross to another node gets an
/// `inspect` function and a type id instead.

#include <caf/allowed_unsafe_message_type.hpp>

#define LONGSHORE_LOCAL_MESSAGE(type) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(longshore::type)
