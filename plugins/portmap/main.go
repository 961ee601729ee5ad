// Portmap publishes ports of a container at the host. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainChained("portmap", attach.Chained[conf]{Parse: parse, Plan: plan, Prune: prune})
}
