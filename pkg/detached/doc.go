// Package detached keeps what is known of commands that `fairway run --detach` has left in the background: who they are, what they have
// printed, and how they ended. There is no daemon: each has a process of fairway's that holds a lock, and its directory lies below /run.
package detached
