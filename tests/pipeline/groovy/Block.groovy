/** A declarative block as it was written: its name, its arguments, the blocks in it; code in it is kept, not run. */
class Block {
  private static final List<String> CODE = ['steps', 'expression', 'always', 'success', 'failure', 'unsuccessful']

  final String name
  final List arguments
  final List<Block> parts = []
  private final Script script

  Block(Script script, String name, List arguments) {
    this.script = script
    this.name = name
    this.arguments = arguments
    def body = arguments.find { it instanceof Closure }
    if (body) {
      body.delegate = name in CODE ? script : this
      body.resolveStrategy = Closure.DELEGATE_ONLY
      name in CODE ?: body()
    }
  }

  Block part(String wanted) { parts.find { it.name == wanted } }

  List<Block> all(String wanted) { parts.findAll { it.name == wanted } }

  /** The value of a part that has only one, such as `label 'linux'`. */
  def value(String wanted) { part(wanted)?.arguments?.getAt(0) }

  Closure getCode() { arguments.find { it instanceof Closure } }

  Map getNamed() { arguments.find { it instanceof Map } ?: [:] }

  def methodMissing(String called, Object given) {
    if (called == 'logRotator') {
      return given[0]
    }
    parts << new Block(script, called, given as List)
    null
  }

  def propertyMissing(String wanted) { wanted in ['any', 'none'] ? wanted : script.getProperty(wanted) }
}
