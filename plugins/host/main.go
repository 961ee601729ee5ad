// Host lets a container share the host's network namespace. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.MainHost("host", parse) }
