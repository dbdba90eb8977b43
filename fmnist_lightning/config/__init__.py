"""Everything before torch is imported: composition, validation, devices, processes, arguments, errors."""
