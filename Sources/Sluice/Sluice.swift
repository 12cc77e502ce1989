// The umbrella a user imports: floors 1 to 3, nothing else.

@_exported public import SluicePackets
@_exported public import SluiceReactor
@_exported public import SluiceStreams
