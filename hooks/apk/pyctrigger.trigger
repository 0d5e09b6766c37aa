#!/bin/sh
# The trigger of a package; in its APKBUILD, one pattern for each depth:
#   triggers="$pkgname.trigger=@SITE@:@SITE@/*:@SITE@/*/*:@SITE@/*/*/*:@SITE@/*/*/*/*"
@PYTHON@ -I -m pyctrigger run --hook --python @VERSION@ --manager apk -- "$@" || :
