#!/bin/sh
# Runs a command that must succeed and print TEXT.
# usage: expect.sh TEXT COMMAND [ARGUMENT ...]
text=$1
shift
output=$("$@" 2>&1)
code=$?
printf '%s\n' "$output"
if [ $code -ne 0 ]; then
    echo "exit code $code"
    exit 1
fi
case $output in
*"$text"*) ;;
*)
    echo "did not print: $text"
    exit 1
    ;;
esac
