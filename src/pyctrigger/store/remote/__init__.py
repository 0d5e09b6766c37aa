"""A store on another machine: asked by a confined process, signed, and never waited for longer than it is worth."""
