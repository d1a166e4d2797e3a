#!/usr/bin/env bash
# Go 1.19.8 (Debian 12's, from its packages).
#
# A goroutine that locks its thread, enters another namespace and returns without unlocking has Go
# end that thread (runtime.LockOSThread). Engines rely on it: containers/common makes the network
# namespaces of Podman's containers so. But the first thread of a process cannot be ended: where the
# goroutine happened to run on it, it stays in that namespace, idle, for as long as the process
# lives. /proc/PID/ns is the first thread's: an engine's service then looks like a neighbour in the
# network of a container that it once started.
#
# Needs root and apt-get. Everything is in a temporary folder; the namespaces are empty.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q golang-1.19-go=1.19.8-2 golang-1.19-src=1.19.8-2 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

func network(task string) string {
	name, err := os.Readlink("/proc/" + task + "/ns/net")
	if err != nil {
		panic(err)
	}
	return name
}

func main() {
	home := network("self")
	for made := 1; made <= 1000; made++ {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// Not unlocked: Go is to end this thread, and its namespace with it.
			runtime.LockOSThread()
			if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
				panic(err)
			}
		}()
		<-done
		if network("self") != home {
			fmt.Printf("after %d namespaces /proc/self/ns/net is %s, and this goroutine is in %s\n",
				made, network("self"), network("thread-self"))
			if network("thread-self") != home {
				os.Exit(1)
			}
			return
		}
	}
	fmt.Println("the first thread was never left behind")
	os.Exit(1)
}
GO
export GOROOT="$dir/root/usr/lib/go-1.19" GOCACHE="$dir/cache" GOPATH="$dir/path" CGO_ENABLED=0 GO111MODULE=off GOFLAGS=
"$GOROOT/bin/go" version
"$GOROOT/bin/go" build -o stays main.go
./stays
