//! Crashes and failures around each durable step of lanes.
