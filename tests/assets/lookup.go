// Looks a name up with Go's own resolver, as static Go programs do.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	begun := time.Now()
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupHost(context.Background(), os.Args[1])
	fmt.Println(time.Since(begun).Milliseconds(), "ms", found, err)
	if err != nil {
		os.Exit(1)
	}
}
