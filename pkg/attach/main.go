// Package attach is the skeleton of a plugin: one way through ADD, CHECK, DEL, GC, STATUS and VERSION for every mode.
//
// A mode is two pure functions. parse reads the configuration; plan declares the kernel state and the result of one
// attachment. The verbs do the rest:
//
//	ADD     parse → lease → plan → Set.Apply → print the result
//	CHECK   parse → lease of prevResult → the same plan → Set.Repair → Set.Verify
//	DEL     parse → no lease → the same plan → Set.Remove → IPAM DEL
//	GC      state.Prune by owner → with no attachment left, Set.Retire → IPAM GC
//	STATUS  parse → no lease → the same plan → Set.Ready → IPAM STATUS
//
// A mode whose plan needs what only the host can tell has a third function, Resolve, before the lease.
//
// A plugin runs in the host's network namespace with CAP_NET_ADMIN and CAP_SYS_ADMIN.
package attach

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Parse reads a mode's configuration from the network configuration on standard input and the environment. It is pure.
// Beside an error it gives what it could read: DEL goes by that, as a mistake made since ADD must not keep anything from
// going.
type Parse[C any] func(stdin []byte, env Env) (C, error)

// Plan declares what an attachment consists of. It is pure. Without a lease it declares as much as DEL and STATUS need:
// each object that has to be removed.
type Plan[C any] func(conf C, request Request, lease Lease) (state.Set, Result)

// Mode is what a plugin consists of. Parse and Plan are enough for most; the others are nil there.
type Mode[C any] struct {
	Parse Parse[C]
	// Resolve completes a configuration by what only the host can tell, for ADD, CHECK and STATUS: it reads and never
	// writes.
	Resolve func(C, *Kernel) (C, error)
	// IPAM is the key ipam for host-local, of a mode that derives it from its own keys. DEL and GC ask for it without
	// Resolve, and look at nothing but its dataDir.
	IPAM func(C) any
	Plan Plan[C]
}

// Kernel is the host's state, to be looked at by functions of package state.
type Kernel = kernel.Kernel

// Version is the release, stamped by the build.
var Version = "devel"

// Main runs a mode's plugin and exits.
func Main[C any](name string, parse Parse[C], plan Plan[C]) {
	MainMode(name, Mode[C]{Parse: parse, Plan: plan})
}

// MainMode runs the plugin of a mode that derives more than its keys say, and exits.
func MainMode[C any](name string, m Mode[C]) {
	os.Exit(run(name, mode[C]{m}, os.Stdin, standardOutput(), os.Stderr))
}

// MainHost runs the plugin of a mode whose containers share the host's network namespace, and exits. Nothing is planned:
// ADD reports what the host has, and no verb changes it.
func MainHost[C any](name string, parse Parse[C]) {
	os.Exit(run(name, hostNetwork[C]{parse}, os.Stdin, standardOutput(), os.Stderr))
}

// MainIPAM runs the IPAM plugin host-local and exits.
func MainIPAM(name string) {
	os.Exit(run(name, addresses{}, os.Stdin, standardOutput(), os.Stderr))
}

// verbs is what a plugin does, once a call has been read and found sound.
type verbs interface {
	add(context.Context, *call) (*types100.Result, undoer, error)
	check(context.Context, *call) error
	del(context.Context, *call) error
	gc(context.Context, *call) error
	status(context.Context, *call) error
}

// run serves one call and gives the exit code. Standard output gets one JSON document or nothing.
func run(name string, v verbs, stdin io.Reader, stdout, stderr io.Writer) int {
	forgoCollection()
	logTo(stderr)
	env := readEnv(os.Getenv)
	if env.Command == "" {
		about(name, stderr)
		return 0
	}
	c, err := readCall(env, stdin)
	if err == nil {
		err = serve(context.Background(), v, c, stdout)
	}
	c.close()
	if err == nil {
		return 0
	}
	if _, err := stdout.Write(cnierr.Document(err, c.version())); err != nil {
		slog.Error("error not reported on standard output", "error", err)
	}
	return 1
}

// forgoCollection leaves garbage to the end of the process, as far as 64 MiB, which is more than a call ever needs. With the
// default, the collector begins at 4 MiB, which a network of a thousand peers comes to, and takes all processors.
func forgoCollection() {
	const percent = 1600 // of the smallest heap, 4 MiB at 100 (package runtime, heapMinimum)
	debug.SetGCPercent(percent)
}

func serve(ctx context.Context, v verbs, c *call, stdout io.Writer) error {
	switch c.env.Command {
	case "ADD":
		return addAndPrint(ctx, v, c, stdout)
	case "CHECK":
		return v.check(ctx, c)
	case "DEL":
		return v.del(ctx, c)
	case "GC":
		return v.gc(ctx, c)
	case "STATUS":
		return v.status(ctx, c)
	}
	return printVersions(c, stdout) // readCall lets no other verb pass
}

// logTo sends what a plugin logs to standard error: warnings, and with FAIRWAY_LOG=debug each object that is created.
func logTo(stderr io.Writer) {
	level := slog.LevelWarn
	if os.Getenv("FAIRWAY_LOG") == "debug" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
}
