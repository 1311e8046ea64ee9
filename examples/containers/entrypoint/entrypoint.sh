#!/bin/sh
# Does as root what comes before the program, and then becomes pidleash, which starts the program as
# another user. Without the exec the shell would be process 1, and forward nothing.
set -eu
install -d -o redis -g redis /data /run/redis
exec pidleash -user redis -pidfile /run/redis/redis.pid -- "$@"
