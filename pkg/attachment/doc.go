// Package attachment attaches containers to CNI networks through libcni, and lists what is attached.
//
// libcni's result cache is the only record: whatever attaches through libcni (containerd, nerdctl, podman, cnitool) writes
// there, so that its containers are listed beside ours. An attachment whose namespace has gone is stale: nobody ran DEL.
//
// Executing plugins needs root in the host's network namespace; reading the cache needs to be its owner.
package attachment
