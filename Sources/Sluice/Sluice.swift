// The umbrella a user imports: floors 1 and 2, nothing else.

@_exported public import SluiceReactor
@_exported public import SluiceStreams
