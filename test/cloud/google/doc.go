// Package google is the Google Compute front of the lab: an HTTP server of compute/v1 over test/cloud/lab.
//
//	cloud, err := lab.New(ctx, lab.Config{})                  // hosts are records; host.New(…) as Config.Hosts boots real ones
//	front, err := google.New(ctx, cloud, google.Config{})     // project "lab-project", zones of three regions
//	server := httptest.NewServer(front)
//	endpoint := server.URL + google.BasePath                  // what --google-endpoint takes
//	…
//	cloud.Fail(lab.Fault{Call: "instances.insert", LoseAnswer: true})
//	front.Undocumented()                                      // must be empty in the end
//	cloud.Leftovers()                                         // must be empty in the end
//	cloud.Close(ctx)
//
// Calls are named as the API's discovery document names them, without "compute.": "instances.insert", "zoneOperations.wait".
// The scope of a call is "PROJECT/zones/ZONE", "PROJECT/regions/REGION" or "PROJECT/global", its subject the last name in
// the path, or of an insert the name in the body.
//
// Every request is held against the discovery document that ships in google.golang.org/api: an unknown path, parameter or
// body field, a wrong type or enum value is refused, and counted by Undocumented. What is documented and not made here is
// refused with 501, and counted too. So are answers of ours that do not fit the document.
package google
