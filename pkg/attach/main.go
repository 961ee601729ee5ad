// Package attach is the skeleton of a plugin: one way through ADD, CHECK, DEL, GC, STATUS and VERSION for every mode.
//
// A mode is two pure functions. parse reads the configuration; plan declares the kernel state and the result of one
// attachment. The verbs do the rest:
//
//	ADD     parse → lease → plan → Set.Apply → print the result
//	CHECK   parse → lease of prevResult → the same plan → Set.Repair → Set.Verify
//	DEL     parse → no lease → the same plan → Set.Remove → IPAM DEL
//	GC      state.Prune by owner → with no attachment left, Set.Retire → IPAM GC
//	STATUS  parse → what every lease has → the same plan → Set.Ready → IPAM STATUS
//
// A mode whose plan needs what only the host can tell has a third function, Resolve, before the lease.
//
// A plugin runs in the host's network namespace with CAP_NET_ADMIN and CAP_SYS_ADMIN.
package attach

import (
	"os"

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
	// NoAddresses is true for a mode without addresses of its own: key ipam is not looked at.
	NoAddresses bool
	Plan        Plan[C]
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
	os.Exit(process(name, mode[C]{m}))
}

// MainHost runs the plugin of a mode whose containers share the host's network namespace, and exits. Nothing is planned:
// ADD reports what the host has, and no verb changes it.
func MainHost[C any](name string, parse Parse[C]) {
	os.Exit(process(name, hostNetwork[C]{parse}))
}

// MainIPAM runs the IPAM plugin host-local and exits.
func MainIPAM(name string) {
	os.Exit(process(name, hostLocalVerbs{}))
}
