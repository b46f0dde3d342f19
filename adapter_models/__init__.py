"""T2I-Adapter networks, file formats, UNet families and the engine that turns adapters into residuals; plain torch."""
