// Bandwidth limits how fast a container sends and receives. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainChained("bandwidth", attach.Chained[conf]{Parse: parse, Plan: plan, Prune: prune})
}
