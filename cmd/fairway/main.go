// Command fairway manages networks as `docker network` does, on any CNI runtime. The files of this command are wiring: each
// turns the flags of one command into a call of a library, and prints what comes back.
package main

import (
	"os"

	"github.com/fairway-cni/fairway/pkg/sandbox"
	"github.com/fairway-cni/fairway/pkg/show"
)

func main() {
	sandbox.Enter() // this may be a process that `fairway run` has started
	e := &env{args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, colour: show.Colour(os.Stdout), width: show.Width(os.Stdout)}
	os.Exit(run(e, os.Args[1:]))
}

// version is the release, stamped by the build.
var version = "devel"
