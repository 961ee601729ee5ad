// Host-local hands out the addresses of one host's networks, on the files of the upstream plugin. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.MainIPAM("host-local") }
