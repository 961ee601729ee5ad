// Package conflist holds networks as conflist files of a netconf directory: there is no other database. It reads what any
// runtime or person has put there, finds a network as Docker does, and writes and removes files of its own atomically.
//
// A file of ours is a conflist that every CNI runtime takes as it is. Beside the plugins it has nerdctlID and nerdctlLabels,
// by which nerdctl knows it as a network of its own, and an object "fairway" (About) with what a conflist has no key for.
//
// Nothing here touches the kernel. Reading needs no privilege.
package conflist
