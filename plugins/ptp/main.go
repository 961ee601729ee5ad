// Ptp routes each container to the host by a link of its own. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.Main("ptp", parse, plan) }
