package google

// handlers is what the lab serves, by the calls' names.
func handlers() map[string]handler {
	machineTypes := inZones("compute#machineType", "machineTypes", machines, machineType)
	diskTypes := inZones("compute#diskType", "diskTypes", diskTypes, diskType)
	acceleratorTypes := inZones("compute#acceleratorType", "acceleratorTypes", accelerators, acceleratorType)
	served := map[string]handler{
		"instances.insert": (*Server).insertInstance, "instances.get": (*Server).getInstance, "instances.list": (*Server).listInstances,
		"instances.aggregatedList": (*Server).listInstances, "instances.delete": (*Server).deleteInstance,
		"instances.start": (*Server).startInstance, "instances.stop": (*Server).stopInstance, "instances.reset": (*Server).resetInstance,
		"instances.setTags": (*Server).setTags, "instances.setLabels": (*Server).setLabels, "instances.setMetadata": (*Server).setMetadata,
		"instances.setScheduling": (*Server).setScheduling, "instances.setDeletionProtection": (*Server).setDeletionProtection,
		"instances.getSerialPortOutput": (*Server).getSerialPortOutput,

		"disks.insert": (*Server).insertDisk, "disks.get": (*Server).getDisk, "disks.list": (*Server).listDisks,
		"disks.aggregatedList": (*Server).listDisks, "disks.delete": (*Server).deleteDisk, "disks.setLabels": (*Server).setDiskLabels,

		"addresses.insert": (*Server).insertAddress, "addresses.get": (*Server).getAddress, "addresses.list": (*Server).listAddresses,
		"addresses.aggregatedList": (*Server).listAddresses, "addresses.delete": (*Server).deleteAddress,
		"addresses.setLabels": (*Server).setAddressLabels,

		"firewalls.insert": (*Server).insertFirewall, "firewalls.get": (*Server).getFirewall, "firewalls.list": (*Server).listFirewalls,
		"firewalls.delete": (*Server).deleteFirewall, "firewalls.patch": (*Server).changeFirewall, "firewalls.update": (*Server).changeFirewall,

		"networks.insert": (*Server).insertNetwork, "networks.get": (*Server).getNetwork, "networks.list": (*Server).listNetworks,
		"networks.delete": (*Server).deleteNetwork, "subnetworks.insert": (*Server).insertSubnet, "subnetworks.get": (*Server).getSubnet,
		"subnetworks.list": (*Server).listSubnets, "subnetworks.aggregatedList": (*Server).listSubnets,
		"subnetworks.delete": (*Server).deleteSubnet,

		"images.get": (*Server).getImage, "images.getFromFamily": (*Server).getImage, "images.list": (*Server).listImages,
		"imageFamilyViews.get": (*Server).getImageFamilyView,
		"machineTypes.get":     (*Server).getMachineType, "machineTypes.list": machineTypes, "machineTypes.aggregatedList": machineTypes,
		"diskTypes.get": (*Server).getDiskType, "diskTypes.list": diskTypes, "diskTypes.aggregatedList": diskTypes,
		"acceleratorTypes.get": (*Server).getAcceleratorType, "acceleratorTypes.list": acceleratorTypes,
		"acceleratorTypes.aggregatedList": acceleratorTypes,
		"zones.get":                       (*Server).getZone, "zones.list": (*Server).listZones, "regions.get": (*Server).getRegion, "regions.list": (*Server).listRegions,
		"projects.get": (*Server).getProject, "projects.setCommonInstanceMetadata": (*Server).setProjectMetadata,

		"globalOperations.aggregatedList": (*Server).aggregatedOperations,
	}
	for _, kind := range []string{"zoneOperations", "regionOperations", "globalOperations"} {
		served[kind+".get"], served[kind+".wait"], served[kind+".list"] = (*Server).getOperation, (*Server).waitOperation, (*Server).listOperations
	}
	return served
}
