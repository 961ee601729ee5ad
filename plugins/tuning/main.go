// Tuning sets kernel parameters of a container, and settings of its interface. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainChained("tuning", attach.Chained[conf]{Parse: parse, Plan: plan, Prune: prune})
}
