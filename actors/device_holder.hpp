#pragma once
/// The actor that brings one file of weights to the device, and keeps it there until told otherwise.
///
/// Owns the file's device memory; the registry alone gives it orders, see messages/load.hpp for who says what when.
/// A chunk's way depends on where its bytes are. On the disk: a slot is borrowed, read into, and uploaded. In a host
/// copy: lent by that copy's holder, and uploaded from there when it is page-locked, by way of a slot when it is not.
/// A host copy that fails, or goes, leaves the disk. A slot or a page-locked range ends when its last copy is over.
/// Limits: at most `credits` chunks under way. Failure: everything ends in `file_failed` or `file_dropped`, sent once
/// no read and no copy is in flight; a partner that dies fails the load.

#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"

namespace longshore {

/// `lane`: its stream; of null actors where there is no device. `host_copy`: the holder of the same file in host
/// memory; may be null.
caf::actor spawn_device_holder(caf::local_actor* registry, const start_load& order, const holder_services& services,
                               const device_lane& lane, const caf::actor& host_copy);

}  // namespace longshore
