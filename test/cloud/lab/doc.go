// Package lab is a small cloud for tests: instances that are hosts or records, disks, addresses, networks, ingress rules,
// operations, and faults on demand. It speaks no provider's language: fronts do, such as test/cloud/google.
//
//	cloud, err := lab.New(ctx, lab.Config{})               // records only: for scale, and for whatever needs no host
//	hosts, err := host.New(ctx, logger)                    // real ones, which need Linux and root
//	cloud, err := lab.New(ctx, lab.Config{Hosts: hosts})
//	…
//	cloud.Fail(lab.Fault{…}); cloud.Vanish(ctx, ref); cloud.CutPower(ctx, ref)
//	cloud.Leftovers()                                      // what exists and was not there from the start
//	cloud.Close(ctx)                                       // hosts and networks go, records stay to be counted
//
// # How to add a front
//
// A front is one package with an http.Handler that speaks a provider's API. test/cloud/google is one to look at; none needs
// to be like another. What it does with each request:
//
//  1. Hold the request against the provider's own description of its API (discovery document, OpenAPI, service model, as
//     the provider's SDK ships it), refuse what is not described, and count it, so that a test can ask for none.
//  2. Ask Admit, with the call's name in the provider's words, where it acts, and what on. It takes its time, and may
//     refuse: put the Kind in the provider's words, with Retry-After. Answer with Call.Raw instead, if there is one.
//  3. Act by a method of the Call, which carries the faults that belong to it: CreateInstance, StartInstance, ReserveAddress
//     and so on. Each checks, records, and returns an Operation whose work goes on. A provider without operations just
//     does not show them; one whose call answers when all is done asks WaitOperation. Where the provider has tokens against
//     doing things twice, go through Once.
//  4. If Call.LoseAnswer, break the connection: panic(http.ErrAbortHandler). Otherwise answer.
//
// Reads are Lab.Instance, Lab.Instances, Lab.Disks and so on: what the API tells, which may be behind what is. Everything and
// Leftovers are what is.
//
// Things are named by a Ref: a scope, which is the front's word for account and place, and a name, or id if the provider
// makes one up. What the API shows and the core does not need goes into Doc, which the core keeps with the thing and never
// reads: its type is the front's. Replace it, do not change it.
//
// What a front's projects, accounts or regions have from the start is made through Setup, and closed with Seal, so that it
// does not count as left over. Nothing comes in to an instance without a Rule: a front whose provider opens a port by
// itself makes that rule there.
//
// Users and keys, startup script and user data go into Guest, however the API takes them. A host that is on follows
// changes of its users.
//
// A front is proven by a client that we did not write, see test/cloud/gcloud, and by the driver's tests.
package lab
