#!/bin/sh
# The trigger of a package; its APKBUILD names one pattern for each depth:
#   triggers="$pkgname.trigger=@PATTERNS@"
@PROGRAM@ run --hook --python @PYTHON@ --manager apk -- "$@" || :
