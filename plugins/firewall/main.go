// Firewall lets a container's packets through the host, and keeps bridges apart. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainChained("firewall", attach.Chained[conf]{Parse: parse, Plan: plan, Prune: prune})
}
