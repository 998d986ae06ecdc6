#pragma once
/// The models that a first run has something to load with: small, of real layouts, under the names that the
/// repository's preload_config.json asks for. About 0.6 GB in all.
///
/// Writes into the model folders below `models_folder`: checkpoints/sd15-tiny, text_encoders/clip_l,
/// diffusion_models/sd15-tiny-unet and vae/taesd. A file that exists is left as it is.
/// Thread rule and failure as `make_checkpoint`; the models before the one that failed stay.

#include <string>
#include <vector>

#include "app/cli/make_checkpoint.hpp"
#include "cache/error.hpp"

namespace longshore {

/// What was written, in order; empty when all were there. `progress` counts over all that is written.
expected<std::vector<made_checkpoint>> demo_models(const std::string& models_folder,
                                                   const write_progress& progress = {});

}  // namespace longshore
